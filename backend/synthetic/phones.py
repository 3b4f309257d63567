"""What the synthetic actor says: sentences as ARPAbet phones, and how each phone sounds and looks.

Formants are the women's averages of G. E. Peterson and H. L. Barney, "Control Methods Used in a Study of the Vowels",
JASA 24, 1952, rounded; durations and mouth shapes are common phonetic knowledge.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SILENCE = "SIL"
STRESS_LENGTHENING = 1.25  # of a stressed phone
FINAL_LENGTHENING = 1.35  # of the last two phones of a sentence, as speakers do
FINAL_PHONE_COUNT = 2
LENGTH_RANGE = (0.92, 1.12)  # by which a phone's length varies at random
TEMPO = 1.08  # of all lengths; larger speaks more slowly
PAUSE_RANGE = (0.7, 1.4)  # by which a pause varies at random
COMMA_LENGTH = 0.6  # of a silence's usual length
GLIDE_LENGTHS = (0.85, 0.65)  # of the two vowels of a diphthong

# Channels that a mouth shape gives without a side and that exist on both sides.
SIDED_CHANNELS = ("mouthSmile", "mouthStretch", "mouthLowerDown", "mouthUpperUp", "mouthPress", "mouthDimple")


@dataclass(frozen=True)
class Phone:
    """One speech sound.

    Attributes:
        formants: first three formants in hertz.
        seconds: usual length.
        voicing: loudness of the voice, 0–1.
        is_nasal: whether it passes through the nose.
        frication: loudness of the noise, 0–1.
        frication_hertz: centre of the noise.
        frication_bandwidth: of the noise, hertz.
        closure: "lips" (p, b, m), "tongue" (t, d, n, k, g) or "" where the vocal tract stays open.
        burst: loudness of the noise when the closure opens, 0–1.
        mouth: (channel, value) at the middle of the phone.
        dominance: how firmly the mouth keeps this shape against the neighbouring phones.
    """

    formants: tuple[float, float, float] = (500, 1500, 2600)
    seconds: float = 0.08
    voicing: float = 0.0
    is_nasal: bool = False
    frication: float = 0.0
    frication_hertz: float = 5000
    frication_bandwidth: float = 2500
    closure: str = ""
    burst: float = 0.0
    mouth: tuple[tuple[str, float], ...] = ()
    dominance: float = 1.0


def _mouth(jaw: float, **others: float) -> tuple[tuple[str, float], ...]:
    """Channels of a mouth shape; a name in `SIDED_CHANNELS` stands for both sides."""
    table = {"jawOpen": jaw}
    for name, value in others.items():
        for end in ("Left", "Right") if name in SIDED_CHANNELS else ("",):
            table[name + end] = value
    return tuple(table.items())


def _vowel(f1: float, f2: float, f3: float, seconds: float, jaw: float, **mouth: float) -> Phone:
    return Phone((f1, f2, f3), seconds, voicing=1.0, mouth=_mouth(jaw, **mouth), dominance=1.0)


# By ARPAbet symbol: formants in hertz, length in seconds, then as in `Phone`.
PHONES: dict[str, Phone] = {
    "AA": _vowel(850, 1220, 2810, 0.15, 0.62, mouthLowerDown=0.25),
    "AE": _vowel(860, 2050, 2850, 0.15, 0.52, mouthStretch=0.30, mouthLowerDown=0.35, mouthUpperUp=0.15),
    "AH": _vowel(760, 1400, 2780, 0.09, 0.36, mouthLowerDown=0.15),
    "AO": _vowel(590, 920, 2710, 0.15, 0.46, mouthFunnel=0.55),
    "EH": _vowel(610, 2330, 2990, 0.11, 0.36, mouthStretch=0.20, mouthLowerDown=0.30),
    "ER": _vowel(500, 1640, 1960, 0.12, 0.24, mouthFunnel=0.40, mouthPucker=0.15),
    "IH": _vowel(430, 2480, 3070, 0.09, 0.22, mouthStretch=0.20, mouthLowerDown=0.25),
    "IY": _vowel(310, 2790, 3310, 0.13, 0.14, mouthStretch=0.35, mouthSmile=0.25, mouthLowerDown=0.35),
    "UH": _vowel(470, 1160, 2680, 0.09, 0.22, mouthFunnel=0.35, mouthPucker=0.25),
    "UW": _vowel(370, 950, 2670, 0.14, 0.12, mouthPucker=0.85, mouthFunnel=0.20),
    "M": Phone((280, 1100, 2400), 0.095, voicing=0.45, is_nasal=True, closure="lips", dominance=4),
    "B": Phone((250, 900, 2300), 0.090, voicing=0.14, closure="lips", burst=0.30, dominance=4),
    "P": Phone((400, 1000, 2400), 0.100, closure="lips", burst=0.65, dominance=4),
    "F": Phone((350, 1200, 2500), 0.100, frication=0.16, frication_hertz=6500, frication_bandwidth=5000,
               mouth=_mouth(0.07, mouthRollLower=0.75, mouthUpperUp=0.30), dominance=2.5),
    "V": Phone((300, 1200, 2500), 0.065, voicing=0.45, frication=0.07, frication_hertz=6000, frication_bandwidth=5000,
               mouth=_mouth(0.07, mouthRollLower=0.65, mouthUpperUp=0.25), dominance=2.2),
    "TH": Phone((400, 1500, 2600), 0.090, frication=0.10, frication_hertz=6500, frication_bandwidth=5000,
                mouth=_mouth(0.14, tongueOut=0.35, mouthLowerDown=0.2)),
    "DH": Phone((330, 1500, 2600), 0.055, voicing=0.50, frication=0.04,
                mouth=_mouth(0.13, tongueOut=0.30, mouthLowerDown=0.2)),
    "T": Phone((400, 1900, 2900), 0.075, closure="tongue", burst=0.60, frication_hertz=5500,
               mouth=_mouth(0.10, mouthLowerDown=0.2, mouthStretch=0.1)),
    "D": Phone((300, 1900, 2900), 0.060, voicing=0.16, closure="tongue", burst=0.30, frication_hertz=5000,
               mouth=_mouth(0.11, mouthLowerDown=0.2, mouthStretch=0.1)),
    "N": Phone((290, 1700, 2700), 0.070, voicing=0.45, is_nasal=True, closure="tongue",
               mouth=_mouth(0.12, mouthLowerDown=0.2)),
    "K": Phone((350, 1800, 2500), 0.080, closure="tongue", burst=0.50, frication_hertz=2600, mouth=_mouth(0.16)),
    "G": Phone((300, 1800, 2500), 0.065, voicing=0.16, closure="tongue", burst=0.25, frication_hertz=2400,
               mouth=_mouth(0.16)),
    "NG": Phone((290, 1800, 2600), 0.080, voicing=0.42, is_nasal=True, closure="tongue", mouth=_mouth(0.16)),
    "S": Phone((350, 1800, 2700), 0.100, frication=0.30, frication_hertz=7800, frication_bandwidth=3000,
               mouth=_mouth(0.06, mouthStretch=0.30, mouthLowerDown=0.40, mouthUpperUp=0.15), dominance=1.5),
    "Z": Phone((300, 1800, 2700), 0.075, voicing=0.40, frication=0.16, frication_hertz=7500, frication_bandwidth=3000,
               mouth=_mouth(0.06, mouthStretch=0.30, mouthLowerDown=0.40, mouthUpperUp=0.15), dominance=1.5),
    "SH": Phone((350, 1800, 2600), 0.105, frication=0.34, frication_hertz=3800, frication_bandwidth=2200,
                mouth=_mouth(0.08, mouthFunnel=0.75, mouthPucker=0.25), dominance=1.5),
    "CH": Phone((350, 1800, 2600), 0.110, frication=0.30, frication_hertz=3900, frication_bandwidth=2200,
                mouth=_mouth(0.08, mouthFunnel=0.75, mouthPucker=0.20), dominance=1.5),
    "JH": Phone((300, 1800, 2600), 0.085, voicing=0.25, frication=0.20, frication_hertz=3700, frication_bandwidth=2200,
                mouth=_mouth(0.08, mouthFunnel=0.65, mouthPucker=0.20), dominance=1.5),
    "L": Phone((360, 1300, 2900), 0.070, voicing=0.65, mouth=_mouth(0.22, mouthLowerDown=0.2)),
    "R": Phone((350, 1180, 1600), 0.075, voicing=0.65, mouth=_mouth(0.14, mouthFunnel=0.45, mouthPucker=0.20)),
    "W": Phone((320, 720, 2300), 0.075, voicing=0.60, mouth=_mouth(0.10, mouthPucker=0.90), dominance=1.6),
    "Y": Phone((300, 2500, 3100), 0.060, voicing=0.60, mouth=_mouth(0.12, mouthStretch=0.3, mouthLowerDown=0.2)),
    "HH": Phone((600, 1600, 2700), 0.065, frication=0.10, frication_hertz=1800, frication_bandwidth=2500,
                mouth=_mouth(0.25), dominance=0.3),
    "SIL": Phone((500, 1500, 2600), 0.30, dominance=1.2),
}  # fmt: skip
DIPHTHONGS = {"EY": ("EH", "IY"), "AY": ("AA", "IY"), "OW": ("AO", "UW"), "AW": ("AA", "UW"), "OY": ("AO", "IY")}

# (words, phones); 1 marks a stressed vowel, a comma is a short pause. The footage speaks the first lines, speech lines
# are what the finished actor speaks.
FOOTAGE_LINES = (
    ("Hello, my name is Mona.", "HH AH L OW1 , M AY N EY1 M IH Z M OW1 N AH"),
    ("I was made by a small program, pixel by pixel.",
     "AY W AH Z M EY1 D B AY AH S M AO1 L P R OW1 G R AE M , P IH1 K S AH L B AY P IH1 K S AH L"),
    ("My hair, my eyes and my mouth are only numbers.",
     "M AY HH EH1 R , M AY AY1 Z AE N M AY M AW1 TH AA R OW1 N L IY N AH1 M B ER Z"),
    ("Maybe you will teach me to speak your words.",
     "M EY1 B IY Y UW W IH L T IY1 CH M IY T UW S P IY1 K Y AO R W ER1 D Z"),
    ("The blue boat moved past the big bridge.", "DH AH B L UW1 B OW1 T M UW1 V D P AE1 S DH AH B IH1 G B R IH1 JH"),
    ("We saw five brown bears by the pool.", "W IY S AO1 F AY1 V B R AW1 N B EH1 R Z B AY DH AH P UW1 L"),
    ("Oh, what a beautiful morning!", "OW1 , W AH1 T AH B Y UW1 T AH F AH L M AO1 R N IH NG"),
)  # fmt: skip
SPEECH_LINES = (
    ("Nobody filmed me, but I can say what you like.",
     "N OW1 B AA D IY F IH1 L M D M IY , B AH T AY K AE1 N S EY W AH T Y UW L AY1 K"),
    ("Put me in your movie, and I will play my part.",
     "P UH1 T M IY IH N Y AO R M UW1 V IY , AE N D AY W IH L P L EY1 M AY P AA1 R T"),
    ("Please open the window, the room is too warm.",
     "P L IY1 Z OW1 P AH N DH AH W IH1 N D OW , DH AH R UW1 M IH Z T UW W AO1 R M"),
)  # fmt: skip


@dataclass(frozen=True)
class TimedPhone:
    """A phone in time.

    Attributes:
        name: key of `PHONES`.
        start: seconds.
        end: seconds.
        is_stressed: whether it carries the stress of its word.
    """

    name: str
    start: float
    end: float
    is_stressed: bool = False

    @property
    def middle(self) -> float:
        """Seconds of its middle."""
        return (self.start + self.end) / 2


def _parse_phones(text: str) -> list[tuple[str, bool, float]]:
    """(phone, is stressed, length factor) of a phone string; diphthongs become two vowels."""
    phones: list[tuple[str, bool, float]] = []
    for symbol in text.split():
        name, is_stressed = symbol.rstrip("1"), symbol.endswith("1")
        if name == ",":
            phones.append((SILENCE, False, COMMA_LENGTH))
        elif name in DIPHTHONGS:
            first, second = DIPHTHONGS[name]
            phones += [(first, is_stressed, GLIDE_LENGTHS[0]), (second, False, GLIDE_LENGTHS[1])]
        else:
            phones.append((name, is_stressed, 1.0))
    return phones


def schedule_phones(
    texts: list[str], rng: np.random.Generator, *, lead_seconds: float, pause_seconds: float, min_seconds: float
) -> list[TimedPhone]:
    """Give phone strings their times, with silence around them.

    Args:
        texts: phone strings; spoken in turn, and again while time is left.
        rng: source of the lengths' variation.
        lead_seconds: silence before the first string.
        pause_seconds: usual silence after each string.
        min_seconds: the timeline ends with the first string that ends later; 0 speaks each string once.
    """
    timeline = [TimedPhone(SILENCE, 0.0, lead_seconds)]
    index = 0
    while index < len(texts) or timeline[-1].end < min_seconds:
        phones = _parse_phones(texts[index % len(texts)])
        for position, (name, is_stressed, factor) in enumerate(phones):
            final = FINAL_LENGTHENING if len(phones) - position <= FINAL_PHONE_COUNT else 1.0
            stress = STRESS_LENGTHENING if is_stressed else 1.0
            length = PHONES[name].seconds * factor * final * stress * rng.uniform(*LENGTH_RANGE) * TEMPO
            timeline.append(TimedPhone(name, timeline[-1].end, timeline[-1].end + length, is_stressed))
        timeline.append(
            TimedPhone(SILENCE, timeline[-1].end, timeline[-1].end + pause_seconds * rng.uniform(*PAUSE_RANGE))
        )
        index += 1
        if min_seconds and timeline[-1].end >= min_seconds:
            break
    return timeline
