"use strict";
// The film's playhead and the curves are one: a click on a curve seeks, playing moves the line.
(() => {
  const data = JSON.parse(document.getElementById("curves").textContent);
  const video = document.getElementById("film");
  const lanes = document.querySelector(".lanes");
  const playhead = document.getElementById("playhead");
  const clock = document.getElementById("clock");
  const strip = document.querySelector(".strip");
  const mark = strip.querySelector("i");
  const parts = [...strip.querySelectorAll("button[data-row]")];
  const length = data.count / data.fps;
  let from = 0, span = length, frame = -1;

  const embedded = document.getElementById("film-data");
  if (embedded) {
    const text = atob(embedded.textContent.trim());
    const bytes = Uint8Array.from(text, (c) => c.charCodeAt(0));
    video.src = URL.createObjectURL(new Blob([bytes], { type: "video/mp4" }));
    embedded.remove();
  }

  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const channels = new Map(data.channels.map((c) => [c.name, c]));

  // One lane: its canvas, how to draw it, and what to write beside it for a frame.
  const drawn = [...document.querySelectorAll(".lane")].map((lane) => {
    const canvas = lane.querySelector("canvas"), now = lane.querySelector(".now");
    if (lane.dataset.wave !== undefined) return { canvas, now, draw: wave, text: () => "" };
    if (lane.dataset.angles) {
      const table = data.angles[lane.dataset.angles], names = ["yaw", "pitch", "roll"];
      const reach = Math.max(5, ...names.map((n) => table[n].reduce((m, v) => Math.max(m, Math.abs(v)), 0)));
      return {
        canvas, now,
        draw: (pen, w, h) => {
          rule(pen, w, h / 2);
          for (const n of names) line(pen, w, h, table[n], (v) => h / 2 - (v / reach) * (h / 2 - 4), style(n));
        },
        text: (t) => names.map((n) => `${table[n][t].toFixed(1)}°`).join("\n"),
      };
    }
    const { values, oral } = channels.get(lane.dataset.channel);
    return {
      canvas, now,
      draw: (pen, w, h) => {
        rule(pen, w, h - 3);
        line(pen, w, h, values, (v) => h - 3 - (v / 1000) * (h - 7), style(oral ? "oral" : "facial"), true);
      },
      text: (t) => (values[t] / 1000).toFixed(2),
    };
  });

  function rule(pen, w, y) {
    pen.fillStyle = style("line");
    pen.fillRect(0, Math.round(y), w, 1);
  }

  // A curve over the frames in view. Where several frames share a column, their highest and lowest are drawn.
  function line(pen, w, h, values, place, colour, filled) {
    const first = Math.max(0, Math.floor(from * data.fps) - 1);
    const last = Math.min(data.count - 1, Math.ceil((from + span) * data.fps) + 1);
    const at = (t) => (((t + 0.5) / data.fps - from) / span) * w;
    pen.beginPath();
    let column = -1e9, low = 0, high = 0;
    for (let t = first; t <= last; t++) {
      const x = at(t), y = place(values[t]);
      if (x - column < 0.7 && t > first) {
        low = Math.min(low, y); high = Math.max(high, y);
        pen.lineTo(column, low); pen.lineTo(column, high); pen.lineTo(column, y);
      } else {
        column = x; low = high = y;
        if (t === first) pen.moveTo(x, y); else pen.lineTo(x, y);
      }
    }
    pen.strokeStyle = colour; pen.lineWidth = 1.3; pen.lineJoin = "round"; pen.stroke();
    if (filled) {
      pen.lineTo(at(last), h - 3); pen.lineTo(at(first), h - 3); pen.closePath();
      pen.globalAlpha = 0.16; pen.fillStyle = colour; pen.fill(); pen.globalAlpha = 1;
    }
  }

  function wave(pen, w, h) {
    const steps = data.wave.length;
    pen.fillStyle = style("wave");
    for (let x = 0; x < w; x++) {
      const a = Math.floor(((from + (x / w) * span) / length) * steps);
      const b = Math.max(a + 1, Math.floor(((from + ((x + 1) / w) * span) / length) * steps));
      let peak = 0;
      for (let i = Math.max(0, a); i < Math.min(b, steps); i++) peak = Math.max(peak, data.wave[i]);
      const tall = Math.max(1, (peak / 100) * (h - 4));
      pen.fillRect(x, (h - tall) / 2, 1, tall);
    }
  }

  function paint() {
    const dots = window.devicePixelRatio || 1;
    for (const lane of drawn) {
      const { clientWidth: w, clientHeight: h } = lane.canvas;
      if (!w) continue;
      lane.canvas.width = Math.round(w * dots); lane.canvas.height = Math.round(h * dots);
      const pen = lane.canvas.getContext("2d");
      pen.scale(dots, dots);
      if (data.held_out < data.count) {
        const x = Math.max(0, ((data.held_out / data.fps - from) / span) * w);
        pen.globalAlpha = 0.1; pen.fillStyle = style("tested"); pen.fillRect(x, 0, w - x, h); pen.globalAlpha = 1;
      }
      lane.draw(pen, w, h);
    }
    follow();
  }

  function follow() {
    const time = Math.min(video.currentTime, length);
    if (time < from || time > from + span) {
      from = Math.max(0, Math.min(length - span, time - span * 0.1));
      paint();
      return;
    }
    const box = drawn[0].canvas.getBoundingClientRect(), outer = lanes.getBoundingClientRect();
    playhead.style.left = `${box.left - outer.left + ((time - from) / span) * box.width}px`;
    const t = Math.max(0, Math.min(data.count - 1, Math.floor(time * data.fps + 1e-3)));
    if (t === frame) return;
    frame = t;
    for (const lane of drawn) lane.now.textContent = lane.text(t);
    clock.textContent = `Frame ${t} · ${time.toFixed(2)} s`;
    const part = parts.filter((p) => +p.dataset.row <= t).pop();
    if (part) {
      const share = (t - part.dataset.row + 0.5) / part.dataset.frames;
      mark.style.display = "block";
      mark.style.left = `${part.offsetLeft + share * part.offsetWidth}px`;
    }
  }

  const seek = (time) => { video.currentTime = Math.max(0, Math.min(length - 0.5 / data.fps, time)); };

  let dragging = false;
  const point = (event) => {
    const box = drawn[0].canvas.getBoundingClientRect();
    seek(from + ((event.clientX - box.left) / box.width) * span);
  };
  lanes.addEventListener("pointerdown", (event) => {
    if (event.target.closest("button")) return;
    dragging = true; lanes.setPointerCapture(event.pointerId); point(event);
  });
  lanes.addEventListener("pointermove", (event) => { if (dragging) point(event); });
  lanes.addEventListener("pointerup", () => { dragging = false; });

  for (const part of parts) part.addEventListener("click", (event) => {
    const share = event.detail ? event.offsetX / part.offsetWidth : 0;
    seek((+part.dataset.row + share * part.dataset.frames) / data.fps);
  });

  const zooms = [...document.querySelectorAll("button[data-zoom]")];
  for (const button of zooms) button.addEventListener("click", () => {
    span = Math.min(length, +button.dataset.zoom || length);
    from = Math.max(0, Math.min(length - span, video.currentTime - span / 2));
    for (const other of zooms) other.setAttribute("aria-pressed", other === button);
    paint();
  });

  const play = document.getElementById("play");
  const toggle = () => (video.paused ? video.play() : video.pause());
  play.addEventListener("click", toggle);
  video.addEventListener("click", toggle);
  const slow = document.getElementById("slow");
  slow.addEventListener("click", () => {
    video.playbackRate = video.playbackRate < 1 ? 1 : 0.25;
    slow.setAttribute("aria-pressed", video.playbackRate < 1);
  });
  const run = () => { follow(); if (!video.paused) requestAnimationFrame(run); };
  video.addEventListener("play", () => { play.textContent = "Pause"; run(); });
  video.addEventListener("pause", () => { play.textContent = "Play"; });
  for (const name of ["seeked", "seeking", "loadeddata"]) video.addEventListener(name, follow);
  document.addEventListener("keydown", (event) => {
    if (event.target.closest("button, video")) return;
    const steps = { ArrowLeft: -1, ArrowRight: 1 };
    if (event.key === " ") toggle();
    else if (event.key in steps) seek((frame + steps[event.key] + 0.5) / data.fps);
    else return;
    event.preventDefault();
  });
  window.addEventListener("resize", paint);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
  paint();
})();
