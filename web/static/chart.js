// The window of a host over time: band from least to greatest error, estimate, budget, events.
"use strict";

(() => {
  const figure = document.getElementById("chart");
  if (!figure || !window.uPlot) return;
  const note = figure.querySelector(".chart-state");
  const HEIGHT = 300;
  const LEAST_PX = 2.5;
  const UNITS = [["s", 1e9], ["ms", 1e6], ["µs", 1e3], ["ns", 1]];

  let plot = null;
  let data = null;
  let skeleton = setTimeout(() => figure.classList.add("skeleton"), 300);

  // Words ---------------------------------------------------------------------------------------

  // Three significant digits in the unit that fits, with sign, as everywhere else.
  function span(ns) {
    if (ns === null || ns === undefined) return "unknown";
    const magnitude = Math.abs(ns);
    const [unit, size] = UNITS.find(([, size]) => magnitude >= size) ?? UNITS[3];
    const value = magnitude / size;
    const digits = unit === "ns" || value >= 100 ? 0 : value >= 10 ? 1 : 2;
    return (ns > 0 ? "+" : ns < 0 ? "−" : "") + value.toFixed(digits) + " " + unit;
  }

  // A tick: no more digits than the tick has.
  function tick(ns) {
    if (ns === 0) return "0";
    const [unit, size] = UNITS.find(([, size]) => Math.abs(ns) >= size * 0.9999) ?? UNITS[3];
    return (ns > 0 ? "+" : "−") + Number((Math.abs(ns) / size).toPrecision(4)) + " " + unit;
  }

  const utc = (t) => new Date(t * 1000).toISOString().slice(0, 19).replace("T", " ") + " UTC";
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // Scales --------------------------------------------------------------------------------------

  // Budget and window both belong into the picture; more than two decades apart they need a
  // logarithmic axis, linear around zero.
  function extent(series) {
    const ends = [...series.lo_ns, ...series.hi_ns].filter((v) => v !== null);
    if (series.budget_ns) ends.push(series.budget_ns, -series.budget_ns);
    const most = Math.max(...ends.map(Math.abs), 1);
    const widths = series.hi_ns
      .map((hi, i) => (hi === null ? null : Math.max(Math.abs(hi), Math.abs(series.lo_ns[i]))))
      .filter((v) => v);
    const typical = widths.length ? widths.sort((a, b) => a - b)[widths.length >> 1] : most;
    const log = most / typical > 100;
    const lo = Math.min(0, ...ends);
    const hi = Math.max(0, ...ends);
    const linear = 10 ** Math.max(0, Math.floor(Math.log10(Math.max(typical / 3, 1))));
    const pad = log ? 0 : (hi - lo) * 0.08;
    const wide = log ? 2 : 1;
    return { log, linear, min: lo * wide - pad, max: hi * wide + pad };
  }

  function splits(u) {
    const { min, max } = u.scales.y;
    if (!u.truechimer.log) return null;
    const marks = [0];
    // The first decade beside zero would be printed over it.
    for (let decade = u.truechimer.linear * 10; decade <= Math.max(-min, max); decade *= 10) {
      if (decade <= max) marks.push(decade);
      if (-decade >= min) marks.unshift(-decade);
    }
    return marks;
  }

  // Drawing -------------------------------------------------------------------------------------

  // Inside the budget the band has the colour of safe; beyond it that of possible where the window
  // straddles the limit and of certain where it is wholly outside.
  function drawBand(u) {
    const { ctx, bbox } = u;
    const [ts, lo, hi] = u.data;
    const budget = data.budget_ns;
    const x = (t) => u.valToPos(t, "x", true);
    const y = (v) => u.valToPos(v, "y", true);
    const top = budget ? Math.max(bbox.top, y(budget)) : bbox.top;
    const bottom = budget ? Math.min(bbox.top + bbox.height, y(-budget)) : bbox.top + bbox.height;
    const fill = {
      safe: color("--safe-fill"),
      possible: color("--possible-fill"),
      certain: color("--certain-fill"),
    };
    const answer = (i) =>
      !budget ? "safe" : lo[i] > budget || hi[i] < -budget ? "certain"
        : hi[i] > budget || lo[i] < -budget ? "possible" : "safe";
    const paint = (kind, clip, pick) => {
      ctx.save();
      ctx.beginPath();
      for (const [a, b] of clip) if (b > a) ctx.rect(bbox.left, a, bbox.width, b - a);
      ctx.clip();
      ctx.beginPath();
      for (let i = 0; i < ts.length; i++) {
        if (lo[i] === null || hi[i] === null) continue;
        const alone = (i === 0 || lo[i - 1] === null) && (i + 1 === ts.length || lo[i + 1] === null);
        if (alone && pick(i, i)) {
          ctx.rect(x(ts[i]) - 1, y(hi[i]), 2, Math.max(1, y(lo[i]) - y(hi[i])));
        }
        if (i + 1 === ts.length || lo[i + 1] === null || !pick(i, i + 1)) continue;
        // Half a pixel of overlap closes the hairline between neighbours.
        const right = x(ts[i + 1]) + 0.5;
        // A window too narrow for this scale is still a band.
        const least = (j) => Math.max(0.5, LEAST_PX * devicePixelRatio - (y(lo[j]) - y(hi[j])) / 2);
        ctx.moveTo(x(ts[i]), y(hi[i]) - least(i));
        ctx.lineTo(right, y(hi[i + 1]) - least(i + 1));
        ctx.lineTo(right, y(lo[i + 1]) + least(i + 1));
        ctx.lineTo(x(ts[i]), y(lo[i]) + least(i));
        ctx.closePath();
      }
      ctx.globalAlpha = Number(color("--band-opacity")) || 0.5;
      ctx.fillStyle = fill[kind];
      ctx.fill("nonzero");
      ctx.restore();
    };
    const beyond = [[bbox.top, top], [bottom, bbox.top + bbox.height]];
    const worst = (i, j) => (answer(i) === "certain" && answer(j) === "certain" ? "certain" : "possible");
    paint("safe", [[top, bottom]], () => true);
    paint("possible", beyond, (i, j) => worst(i, j) === "possible");
    paint("certain", beyond, (i, j) => worst(i, j) === "certain");
  }

  function line(ctx, x0, y0, x1, y1, style, dash) {
    ctx.save();
    ctx.beginPath();
    ctx.setLineDash(dash);
    ctx.lineWidth = devicePixelRatio;
    ctx.strokeStyle = style;
    ctx.moveTo(x0, y0);
    ctx.lineTo(x1, y1);
    ctx.stroke();
    ctx.restore();
  }

  function label(ctx, words, x, y, style, align) {
    ctx.save();
    ctx.font = `${11 * devicePixelRatio}px ${color("--font")}`;
    ctx.fillStyle = style;
    ctx.textAlign = align;
    ctx.textBaseline = "bottom";
    ctx.fillText(words, x, y);
    ctx.restore();
  }

  function drawMarks(u) {
    const { ctx, bbox } = u;
    const px = devicePixelRatio;
    const quiet = color("--quiet");
    const right = bbox.left + bbox.width;
    if (data.budget_ns) {
      for (const limit of [data.budget_ns, -data.budget_ns]) {
        const at = u.valToPos(limit, "y", true);
        const words = limit > 0 ? at - 2 * px : at + 14 * px;
        line(ctx, bbox.left, at, right, at, quiet, [5 * px, 4 * px]);
        label(ctx, `drift budget ${span(limit)}`, bbox.left + 6 * px, words, quiet, "left");
      }
    }
    for (const event of data.events) {
      const at = u.valToPos(event.t, "x", true);
      if (at < bbox.left || at > right) continue;
      line(ctx, at, bbox.top, at, bbox.top + bbox.height, quiet, [1 * px, 3 * px]);
      ctx.save();
      ctx.fillStyle = color("--ink");
      ctx.beginPath();
      ctx.moveTo(at - 4 * px, bbox.top);
      ctx.lineTo(at + 4 * px, bbox.top);
      ctx.lineTo(at, bbox.top + 6 * px);
      ctx.fill();
      ctx.restore();
    }
    const now = u.valToPos(data.now, "x", true);
    line(ctx, now, bbox.top, now, bbox.top + bbox.height, color("--line-strong"), []);
    label(ctx, "now", now - 4 * px, bbox.top + 14 * px, quiet, "right");
  }

  // The word on hover ---------------------------------------------------------------------------

  const tip = document.createElement("div");
  tip.className = "chart-tip";
  tip.hidden = true;

  function hover(u) {
    const { left, idx } = u.cursor;
    if (left < 0 || idx === null || idx === undefined) {
      tip.hidden = true;
      return;
    }
    const near = data.events.filter((e) => Math.abs(u.valToPos(e.t, "x") - left) < 6);
    const [ts, lo, hi, offset] = u.data;
    const words = near.map((e) => `${utc(e.t)}\n${e.kind}: ${e.summary}`);
    words.push(
      lo[idx] === null
        ? `${utc(ts[idx])}\nno data`
        : `${utc(ts[idx])}\nwindow ${span(lo[idx])} to ${span(hi[idx])}\noffset ${span(offset[idx])}`,
    );
    tip.textContent = words.join("\n");
    tip.hidden = false;
    const room = figure.clientWidth - left - u.over.offsetLeft;
    const x = u.over.offsetLeft + left;
    tip.style.left = room > 260 ? `${x + 12}px` : "";
    tip.style.right = room > 260 ? "" : `${figure.clientWidth - x + 12}px`;
    tip.style.top = "12px";
  }

  // Building ------------------------------------------------------------------------------------

  function options(series) {
    const view = extent(series);
    const axis = {
      stroke: color("--quiet"),
      font: `11px ${color("--font")}`,
      grid: { stroke: color("--line"), width: 1 },
      ticks: { show: false },
    };
    const estimate = { stroke: color("--ink"), width: 1, spanGaps: false, points: { show: false } };
    const edge = { stroke: "transparent", width: 0, points: { show: false } };
    return {
      width: figure.clientWidth,
      height: HEIGHT,
      legend: { show: false },
      tzDate: (t) => uPlot.tzDate(new Date(t * 1000), "Etc/UTC"),
      cursor: { drag: { x: false, y: false }, points: { show: false }, y: false },
      scales: {
        x: { range: () => [data.from, data.now] },
        y: {
          distr: view.log ? 4 : 1,
          asinh: view.linear,
          range: () => {
            const { min, max } = extent(data);
            return [min, max];
          },
        },
      },
      axes: [
        { ...axis, size: 34, values: clockTicks },
        { ...axis, size: 76, values: (_, marks) => marks.map(tick), ...(view.log ? { splits, filter: (_, marks) => marks } : {}) },
      ],
      series: [{}, edge, edge, estimate],
      hooks: {
        init: [(u) => { u.truechimer = view; }],
        drawAxes: [drawBand],
        draw: [drawMarks],
        setCursor: [hover],
      },
    };
  }

  // 24-hour UTC; the date where a new day begins.
  function clockTicks(u, marks, _axis, _space, step) {
    let day = "";
    return marks.map((t) => {
      const iso = new Date(t * 1000).toISOString();
      const date = iso.slice(5, 10);
      const words = step < 60 ? iso.slice(11, 19) : iso.slice(11, 16);
      const first = date !== day && (day !== "" || step >= 86400);
      day = date;
      return step >= 86400 ? date : first ? `${words}\n${date}` : words;
    });
  }

  const columns = (series) => [series.t, series.lo_ns, series.hi_ns, series.offset_ns];

  function draw() {
    plot?.destroy();
    plot = null;
    if (!data.lo_ns.some((v) => v !== null)) {
      say("No window in this range. The chart begins with the first report that has one.");
      return;
    }
    note.hidden = true;
    plot = new uPlot(options(data), columns(data), figure);
    figure.append(tip);
  }

  function say(words) {
    note.textContent = words;
    note.hidden = false;
  }

  async function load() {
    try {
      const response = await fetch(figure.dataset.series);
      if (!response.ok) throw new Error(`HTTP ${response.status}`);
      const fresh = await response.json();
      const before = data && extent(data);
      data = fresh;
      const view = extent(data);
      // Appending is enough unless the axis has to change its kind.
      if (plot && before.log === view.log && before.linear === view.linear) plot.setData(columns(data));
      else draw();
    } catch {
      if (!data) say("The chart could not be loaded; it is tried again with the next report.");
    } finally {
      clearTimeout(skeleton);
      figure.classList.remove("skeleton");
    }
  }

  load();
  document.addEventListener("live:refreshed", load);
  const redraw = () => data && draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  new ResizeObserver(() => {
    if (plot && plot.width !== figure.clientWidth) plot.setSize({ width: figure.clientWidth, height: HEIGHT });
  }).observe(figure);
})();
