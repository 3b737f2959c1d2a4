// Charts as SVG, drawn to the width of their place. Each has a label in words for those who do not see it.

import { axisUsd, clock, day, number, percent, s, threshold, usd } from "./elements.js";

const LEFT = 54, RIGHT = 10, TOP = 10, BOTTOM = 26;

function frame(place, height, label) {
  const width = Math.max(240, place.clientWidth);
  const root = s("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": label });
  place.replaceChildren(root);
  const x = (share) => LEFT + share * (width - LEFT - RIGHT);
  const y = (share) => height - BOTTOM - share * (height - TOP - BOTTOM);
  return { root, width, height, x, y };
}

function rows(box, top, text) {
  for (const share of [0, 0.5, 1]) {
    const y = box.y(share);
    box.root.append(
      s("line", { class: share ? "grid" : "axis", x1: LEFT, x2: box.width - RIGHT, y1: y, y2: y }),
      s("text", { x: LEFT - 8, y: y + 4, "text-anchor": "end" }, text(share * top)));
  }
}

function under(box, texts) {
  for (const [share, text] of texts) {
    const anchor = share < 0.05 ? "start" : share > 0.95 ? "end" : "middle";
    box.root.append(s("text", { x: box.x(share), y: box.height - 6, "text-anchor": anchor }, text));
  }
}

export function round(value) {
  if (!(value > 0)) return 1;
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 5, 10].find((each) => each * unit >= value * 0.999999) * unit;
}

export function money(place, summary) {
  const found = summary.buckets, span = summary.bucket_seconds;
  if (!found.length) return empty(place, "No decisions in this time.");
  const first = found[0].at, n = Math.round((found[found.length - 1].at - first) / span) + 1;
  const top = round(Math.max(...found.map((each) => Math.max(each.baseline, each.cost))));
  const box = frame(place, 280, `Money over time: ${usd(summary.money.cost)} spent of ${usd(summary.money.baseline)} for the large model alone.`);
  rows(box, top, axisUsd);
  const wide = (box.width - LEFT - RIGHT) / n, gap = Math.min(4, wide * 0.2), bar = Math.min(wide - gap, 56);
  for (const each of found) {
    const left = LEFT + Math.round((each.at - first) / span) * wide + (wide - bar) / 2;
    const part = (kind, from, to) => s("rect", { class: kind, x: left, width: bar, y: box.y(to / top), height: Math.max(0, box.y(from / top) - box.y(to / top)) });
    box.root.append(
      s("g", {}, s("title", {}, `${time(each.at, span)}: ${usd(each.cost)} spent, ${usd(each.baseline - each.cost)} saved, ${number(each.n)} decisions`),
        part("spent", 0, each.cost), part("saved", each.cost, Math.max(each.cost, each.baseline))));
  }
  under(box, n > 1 ? [[0, time(first, span)], [1, time(found[found.length - 1].at, span)]] : [[0.5, time(first, span)]]);
}

const time = (at, span) => (span >= 86400 ? day(at) : `${day(at)} ${clock(at).slice(0, 5)}`);

export function histogram(place, summary, inUse) {
  const { kept, deferred } = summary, bins = kept.length;
  const total = kept.map((each, i) => each + deferred[i]), all = total.reduce((a, b) => a + b, 0);
  if (!all) return empty(place, "No confidence was measured in this time.");
  const top = round(Math.max(...total));
  const box = frame(place, 310, `Histogram of the confidence of ${number(all)} answers.`);
  rows(box, top, number);
  for (let i = 0; i < bins; i++) {
    const left = box.x(i / bins) + 1, width = box.x((i + 1) / bins) - left - 1, low = box.y(0);
    const middle = box.y(deferred[i] / top), high = box.y(total[i] / top);
    box.root.append(s("g", {}, s("title", {}, `${(i / bins).toFixed(2)} to ${((i + 1) / bins).toFixed(2)}: ${number(kept[i])} kept, ${number(deferred[i])} deferred`),
      s("rect", { class: "deferred", x: left, width, y: middle, height: low - middle }),
      s("rect", { class: "kept", x: left, width, y: high, height: middle - high })));
  }
  under(box, [[0, "0"], [0.5, "0.5"], [1, "1"]]);
  if (inUse !== null && inUse >= 0 && inUse <= 1) {
    const x = box.x(inUse);
    box.root.append(s("line", { class: "mark", x1: x, x2: x, y1: TOP, y2: box.y(0) }),
      s("text", { class: "strong", x: x + (inUse > 0.6 ? -6 : 6), y: TOP + 10, "text-anchor": inUse > 0.6 ? "end" : "start" }, `threshold ${threshold(inUse)}`));
  }
}

export function reliability(place, found) {
  const n = (name) => found[name].reduce((sum, each) => sum + each.n, 0);
  if (!n("agrees") && !n("labelled")) return empty(place, "No audited and no labelled answers yet. Set gateway.audit.share to draw some, or send POST /v1/feedback.");
  const box = frame(place, 290, `Reliability: ${number(n("agrees"))} drawn and ${number(n("labelled"))} labelled answers by confidence.`);
  rows(box, 1, percent);
  under(box, [[0, "0"], [0.5, "confidence"], [1, "1"]]);
  box.root.append(s("line", { class: "ideal", x1: box.x(0), x2: box.x(1), y1: box.y(0), y2: box.y(1) }));
  for (const [name, dot, band, shift] of [["agrees", "dot", "band", -3], ["labelled", "ring", "ring-band", 3]]) {
    for (const each of found[name]) {
      const x = box.x(each.confidence) + shift;
      box.root.append(s("g", {},
        s("title", {}, `confidence ${each.confidence.toFixed(2)}: ${percent(each.share)} of ${number(each.n)} (${percent(each.low)} to ${percent(each.high)})`),
        s("line", { class: band, x1: x, x2: x, y1: box.y(each.low), y2: box.y(each.high) }),
        s("circle", { class: dot, cx: x, cy: box.y(each.share), r: 5 })));
    }
  }
}

export function curve(place, found, chosen, inUse) {
  const top = round(Math.max(found.baseline_usd, ...found.points.map((each) => each.cost_usd)));
  const box = frame(place, 220, "Cost by the share of questions that is deferred.");
  rows(box, top, axisUsd);
  under(box, [[0, "0 %"], [0.5, "deferred"], [1, "100 %"]]);
  const at = (point) => [box.x(point.deferred / found.n), box.y(point.cost_usd / top)];
  const large = box.y(found.baseline_usd / top);
  box.root.append(
    s("line", { class: "mark", x1: LEFT, x2: box.width - RIGHT, y1: large, y2: large }),
    s("text", { x: LEFT + 6, y: large + 15 }, `large model alone ${usd(found.baseline_usd)}`),
    s("polyline", { class: "line", points: found.points.map((each) => at(each).join(",")).join(" ") }));
  const used = inUse === null ? [box.x(found.actual_deferred / found.n), box.y(found.actual_usd / top)] : at(found.points[inUse]);
  const [x, y] = at(found.points[chosen]);
  box.root.append(s("circle", { class: "dot", cx: used[0], cy: used[1], r: 5 }, s("title", {}, "in use")),
    s("circle", { class: "chosen", cx: x, cy: y, r: 7 }));
}

export function agreement(place, days) {
  const known = days.filter((each) => each.kept);
  if (!known.length) return empty(place, "No drawn kept answer was compared yet.");
  const rates = known.map((each) => each.kept_differ / each.kept), top = round(Math.max(...rates, 0.02));
  const box = frame(place, 170, `Kept answers that differ from the large model's, by day: ${known.map((each, i) => `${each.day} ${percent(rates[i])}`).join(", ")}.`);
  rows(box, top, percent);
  const x = (i) => box.x(known.length > 1 ? 0.02 + (i / (known.length - 1)) * 0.96 : 0.5);
  box.root.append(s("polyline", { class: "line", points: rates.map((rate, i) => `${x(i)},${box.y(rate / top)}`).join(" ") }));
  rates.forEach((rate, i) => box.root.append(s("circle", { class: "dot", cx: x(i), cy: box.y(rate / top), r: 4 },
    s("title", {}, `${known[i].day}: ${number(known[i].kept_differ)} of ${number(known[i].kept)} differ`))));
  const label = (each) => day(Date.parse(each.day) / 1000);
  under(box, known.length > 1 ? [[0, label(known[0])], [1, label(known[known.length - 1])]] : [[0.5, label(known[0])]]);
}

export function empty(place, words) {
  const text = document.createElement("p");
  text.className = "empty";
  text.textContent = words;
  place.replaceChildren(text);
}
