"""What every file that leaves says of itself: that it is synthetic, and who agreed to be shown."""

from __future__ import annotations

from ..contract.actor_folder import ActorInfo

SYNTHETIC_LABEL = "synthetic media"
# IPTC NewsCodes: what a picture wholly made by a trained model is to be labelled as.
DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


def describe_consent(info: ActorInfo) -> str:
    """e.g. ``Jane Doe, 2026-11-21``: who is shown, and when they were said to agree; empty where nobody was named."""
    who = info.consent.get("who", "")
    return f"{who}, {info.consent.get('date', '')[:10]}" if who else ""


def video_metadata(info: ActorInfo, default_title: str) -> dict[str, str]:
    """The tags of a film: its title is the actor's name, or `otherwise`."""
    agreed = describe_consent(info)
    return {"title": info.name or default_title, **({"description": f"Shown with consent: {agreed}"} if agreed else {})}
