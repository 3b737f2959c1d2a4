// The page: login, what is shown, and when it is read again.

import * as charts from "./charts.js";
import { $, clock, decimal, h, meter, number, percent, seconds, show, table, threshold, usd } from "./elements.js";
import { startWork, showKeys } from "./work.js";

const SECRET = "corea-admin-key";
const LIVE_MS = 2000, STATE_MS = 5000, FIGURES_MS = 15000;
let secret = sessionStorage.getItem(SECRET);
let state = null, summary = null, points = null, chosen = null, audit = null, reliability = null;
let generation = 0, paused = false, seen = new Set();

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export async function call(path, { method = "GET", body } = {}) {
  const headers = { authorization: `Bearer ${secret}` };
  if (body !== undefined) headers["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), cache: "no-store", credentials: "omit" });
  } catch {
    throw new Refused(0, "The gateway does not answer. Trying again.");
  }
  const found = await response.json().catch(() => null);
  if (!response.ok) throw new Refused(response.status, found?.error?.message || `The gateway answered ${response.status}.`);
  show($("offline"), "");
  return found;
}

// ---- login ---------------------------------------------------------------------------------------------------------

function leave(message) {
  generation += 1;
  secret = null;
  sessionStorage.removeItem(SECRET);
  $("app").hidden = true;
  $("login").hidden = false;
  for (const each of ["traffic-table", "keys-table", "answer", "new-key", "audit-body"]) $(each).replaceChildren();
  $("payer").value = "";
  show($("login-error"), message);
  $("secret").focus();
}

async function enter() {
  try {
    state = await call("/ui/api/state");
  } catch (error) {
    return leave(error.status === 401 ? "This admin key is unknown or was revoked." : error.message);
  }
  sessionStorage.setItem(SECRET, secret);
  $("secret").value = "";
  $("login").hidden = true;
  $("app").hidden = false;
  generation += 1;
  choices();
  every(STATE_MS, readState);
  every(LIVE_MS, readTraffic);
  every(FIGURES_MS, readFigures);
  every(FIGURES_MS, () => showKeys().catch(failed));
}

function failed(error) {
  if (error.status === 401) leave("This admin key is unknown or was revoked.");
  else show($("offline"), error.message);
}

// Reads now and again, until the next login; a hidden page asks for nothing.
async function every(ms, work) {
  const mine = generation;
  while (mine === generation) {
    if (!document.hidden) await Promise.resolve(work()).catch(failed);
    await new Promise((done) => setTimeout(done, ms));
  }
}

function choices() {
  const names = state.cascades.map((each) => each.name);
  $("cascade-label").hidden = $("model-label").hidden = names.length < 2;
  $("cascade").replaceChildren(h("option", { value: "" }, "all"), ...names.map((name) => h("option", {}, name)));
  $("model").replaceChildren(...names.map((name) => h("option", {}, name)));
}

// ---- reading -------------------------------------------------------------------------------------------------------

const twoStages = () => state.cascades.filter((each) => each.stages.length === 2);
const subject = () => {
  const wanted = $("cascade").value, found = twoStages();
  return wanted ? found.find((each) => each.name === wanted) : found.length === 1 ? found[0] : undefined;
};

async function readState() {
  state = await call("/ui/api/state");
  showState();
}

async function readTraffic() {
  if (paused) return;
  showTraffic((await call("/ui/api/decisions")).decisions);
}

async function readFigures() {
  const query = new URLSearchParams({ days: $("days").value, cascade: $("cascade").value });
  summary = await call(`/ui/api/summary?${query}`);
  showMoney();
  const found = subject();
  [points, audit, reliability] = await Promise.all([
    found ? call(`/ui/api/thresholds?${new URLSearchParams({ days: $("days").value, cascade: found.name })}`) : null,
    call("/v1/audit"),
    call(`/ui/api/reliability?${query}`),
  ]);
  showThreshold();
  showQuality();
}

// ---- showing -------------------------------------------------------------------------------------------------------

function largeName() {
  const wanted = $("cascade").value;
  const names = new Set(state.cascades.filter((each) => !wanted || each.name === wanted).map(({ stages }) => stages.at(-1).model ?? stages.at(-1).name));
  return names.size === 1 ? [...names][0] : "the last stage";
}

function showMoney() {
  const { money } = summary, words = $("saved-words"), headline = $("saved");
  $("hero-title").textContent = `Saved in ${$("days").value === "3660" ? "all stored time" : `the last ${$("days").selectedOptions[0].textContent}`}`;
  headline.className = !money.compared ? "headline none" : summary.saved_usd < 0 ? "headline loss" : "headline";
  if (!money.n) {
    headline.replaceChildren("No decisions yet");
    show(words, "Ask a question in the playground, or point an application at /v1: its decisions appear here.");
  } else if (!money.compared) {
    headline.replaceChildren("Not known");
    show(words, "The cost of no decision is known: set the prices of your models under [prices].");
  } else {
    headline.replaceChildren(usd(summary.saved_usd), h("small", {}, `${percent(Math.abs(summary.saved_share))} ${summary.saved_usd < 0 ? "more" : "less"}`));
    show(words, `${usd(money.cost + summary.audit_usd)} spent${summary.audit_usd ? `, ${usd(summary.audit_usd)} of it by the audit,` : ""} where ${largeName()} alone would have cost ${usd(money.baseline)}, for the same ${number(money.compared)} questions.`
      + (money.estimated ? ` It was not asked ${number(money.estimated)} of them: there its cost is an estimate.` : ""));
  }
  const facts = [
    ["Spent in all", usd(money.spent + summary.audit_usd)], ["Requests", number(money.n)],
    ["Kept", money.n ? percent(money.kept / money.n) : "–"], ["Failed", money.n ? percent(money.failed / money.n) : "–"],
  ];
  if (money.cached) facts.push(["From the cache", number(money.cached)]);
  if (money.unpriced) facts.push(["Without a price", number(money.unpriced)]);
  $("facts").replaceChildren(...facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
  const spans = { 300: "5 minutes", 3600: "hour", 21600: "6 hours", 86400: "day", 604800: "week", 2592000: "30 days" };
  $("bucket").textContent = `per ${spans[summary.bucket_seconds]}`;
  charts.money($("money-chart"), summary);
  charts.histogram($("confidence-chart"), summary, subject()?.scored ? null : subject()?.threshold ?? null);
}

function showTraffic(found) {
  const head = [
    { title: "Time", kind: "text" }, { title: "Key", kind: "text name optional" }, { title: "Decision", kind: "text" },
    { title: "Confidence" }, { title: "Cost" }, { title: "Saved", kind: "optional" }, { title: "Seconds", kind: "optional" },
  ];
  const first = !seen.size;
  const rows = found.map((each) => ({
    kind: !first && !seen.has(each.trace_id) ? "new" : null,
    cells: [
      clock(each.at), each.key ?? "none", decision(each),
      [decimal(each.confidence), each.confidence === null ? null : meter(each.confidence)], usd(each.cost_usd),
      each.baseline_usd === null || each.cost_usd === null ? "–" : usd(each.baseline_usd - each.cost_usd), decimal(each.seconds),
    ],
  }));
  seen = new Set(found.map((each) => each.trace_id));
  $("traffic-table").replaceChildren(table(head, rows, "No decisions yet."));
}

function decision(each) {
  if (each.error !== null) return h("span", { class: "pill bad" }, each.error);
  const stage = each.stage ?? each.status;
  const large = state.cascades.some(({ stages }) => stages.at(-1).name === stage);
  return h("span", { class: large ? "pill deferred" : "pill kept" }, `${stage}${each.cached ? " (cache)" : ""}`);
}

function inUse() {
  const tau = subject()?.threshold ?? null;
  if (tau === null || !points) return null;
  const found = points.points.findIndex((each) => each.threshold === null || each.threshold >= tau);
  return found < 0 ? points.points.length - 1 : found;
}

function showThreshold() {
  const body = $("threshold-body"), note = $("threshold-note");
  body.hidden = !points || !points.n;
  if (!points) return show(note, "Choose a cascade of two stages above: only there the cost at another threshold is known from the decisions.");
  if (!points.n) return show(note, "No decision of a threshold, with known costs, in this time.");
  const used = inUse(), last = points.points.length - 1;
  const slider = $("slider");
  slider.max = last;
  if (chosen === null || chosen > last) chosen = used ?? last;
  slider.value = chosen;
  const point = points.points[chosen], saved = points.baseline_usd - point.cost_usd, change = point.cost_usd - points.actual_usd;
  const name = point.threshold === null ? "Defer everything" : `Threshold ${threshold(point.threshold)}`;
  const against = chosen === used ? "in use" : Math.abs(change) < 1e-12 ? "the same cost" : `${usd(Math.abs(change))} ${change < 0 ? "less" : "more"} than now`;
  $("threshold-words").replaceChildren(h("strong", {}, name), ` (${against}): ${percent(point.deferred / points.n)} deferred, ${usd(point.cost_usd)} spent, `,
    h("strong", {}, `${usd(saved)} saved (${points.baseline_usd ? percent(saved / points.baseline_usd) : "–"})`), ".");
  slider.setAttribute("aria-valuetext", $("threshold-words").textContent);
  charts.curve($("threshold-chart"), points, chosen, used);
  show(note, `From ${number(points.n)} stored decisions${points.n >= points.at_most ? ", the newest" : ""}. `
    + (point.estimated ? `Estimate: ${number(point.estimated)} of the questions deferred here were kept, and ${largeName()} was not asked. ` : "")
    + "The amount saved rests on estimates wherever the large model was not asked, and leaves out the audit. This is about cost alone: corea calibrate --from-store says how right the answers would be.");
}

function showQuality() {
  charts.reliability($("reliability-chart"), reliability);
  const wanted = $("cascade").value;
  const found = audit.cascades.filter((each) => !wanted || each.cascade === wanted);
  const alarms = audit.cascades.filter((each) => each.alarm);
  show($("alarm"), alarms.map((each) => `Audit alarm: cascade ${each.cascade}, ${each.alarm}. Look at its evidence; corea audit --acknowledge ends it.`).join(" "));
  if (!found.length) return charts.empty($("audit-body"), "No audit yet: set gateway.audit.share to have kept answers compared with the large model's.");
  const charted = h("div", { class: "chart" }), days = new Map();
  for (const each of found.flatMap((cascade) => cascade.days)) {
    const sum = days.get(each.day) ?? { day: each.day, kept: 0, kept_differ: 0 };
    days.set(each.day, { ...sum, kept: sum.kept + each.kept, kept_differ: sum.kept_differ + each.kept_differ });
  }
  const head = [{ title: "Evidence", kind: "text" }, { title: "Observed" }, { title: "Rate" }, { title: "Of an alarm", kind: "optional" }, { title: "State", kind: "text" }];
  const rows = found.flatMap((cascade) => cascade.sources.map((each) => ({
    cells: [
      found.length > 1 ? `${cascade.cascade}: ${each.source}` : each.source, number(each.n), each.rate === null ? "–" : percent(each.rate),
      each.every === null ? "–" : [`${each.evidence.toPrecision(2)} of ${number(each.every)}`, meter(Math.log1p(Math.max(0, each.evidence)) / Math.log1p(each.every))],
      each.alarm ? h("span", { class: "pill bad" }, "alarm") : each.every === null ? h("span", { class: "note" }, "no test") : h("span", { class: "pill" }, "quiet"),
    ],
  })));
  $("audit-body").replaceChildren(h("p", { class: "note" }, "Share of the drawn kept answers that differ from the large model's (with a judge: that it finds worse), by day"), charted,
    h("div", { class: "scroll" }, table(head, rows, "No evidence yet.")));
  charts.agreement(charted, [...days.values()].sort((a, b) => (a.day < b.day ? -1 : 1)));
}

function showState() {
  const head = [{ title: "Stage", kind: "text" }, { title: "State", kind: "text" }, { title: "Calls" }, { title: "Failed" }, { title: "Mean", kind: "optional" }];
  let down = 0;
  const rows = state.cascades.flatMap((cascade) => cascade.stages.map((each) => {
    const open = each.breakers.filter((breaker) => breaker === "open").length;
    const all = open === each.servers;
    const words = each.unavailable ? each.unavailable.replaceAll("_", " ") : open ? `breaker open${each.servers > 1 ? `: ${open} of ${each.servers}` : ""}` : each.checked ? "reachable" : "breaker closed";
    down += each.unavailable || all ? 1 : 0;
    const kind = each.unavailable || open ? "pill bad" : "pill";
    return { cells: [state.cascades.length > 1 ? `${cascade.name}/${each.name}` : each.name, h("span", { class: kind }, words),
      each.calls === null ? "–" : number(each.calls), each.calls ? percent(each.failed / each.calls) : "–", seconds(each.mean_seconds)] };
  }));
  $("pill").className = down ? "pill bad" : "pill";
  $("pill").textContent = down ? `${down} of ${rows.length} stages down` : "all models up";
  $("models-table").replaceChildren(table(head, rows, "No stages."), h("p", { class: "note" }, "Calls: of the newest 1,000 decisions."));
}

// ---- begin ---------------------------------------------------------------------------------------------------------

function redraw() {
  if ($("app").hidden || !summary) return;
  showMoney();
  showThreshold();
  if (reliability) showQuality();
}

$("login").addEventListener("submit", (event) => {
  event.preventDefault();
  secret = $("secret").value.trim();
  enter();
});
$("logout").addEventListener("click", () => leave(""));
$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  $("pause").textContent = paused ? "Go on" : "Pause";
});
for (const id of ["days", "cascade"]) $(id).addEventListener("change", () => {
  chosen = null;
  readFigures().catch(failed);
});
$("slider").addEventListener("input", () => {
  chosen = Number($("slider").value);
  showThreshold();
});
$("in-use").addEventListener("click", () => {
  chosen = null;
  showThreshold();
});
let width = window.innerWidth;
window.addEventListener("resize", () => {
  if (width !== window.innerWidth) requestAnimationFrame(redraw);
  width = window.innerWidth;
});
startWork({ call, failed, state: () => state });
if (secret) enter();
else leave("");
