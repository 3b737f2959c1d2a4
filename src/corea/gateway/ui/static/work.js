// What the page does: questions of the playground, and keys.

import { $, decimal, h, meter, number, seconds, show, table, threshold, usd } from "./elements.js";

const BUDGETS = [["budget_usd", "for good"], ["budget_day_usd", "a day"], ["budget_week_usd", "a week"], ["budget_month_usd", "a month"]];
const LIMITS = [...BUDGETS.map(([name, words]) => [name, `Budget ${words}, USD`]), ["requests_per_minute", "Requests a minute"], ["tokens_per_minute", "Tokens a minute"]];
let gateway = null;

export function startWork(given) {
  gateway = given;
  $("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    ask();
  });
  $("question").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("ask").requestSubmit();
  });
  $("create").addEventListener("submit", (event) => {
    event.preventDefault();
    create(event.target);
  });
  $("dialog-cancel").addEventListener("click", () => $("dialog").close());
}

// ---- playground ----------------------------------------------------------------------------------------------------

const question = (model) => gateway.call("/ui/api/ask", {
  method: "POST", body: { model, question: $("question").value, key: $("payer").value.trim() || null },
});

async function ask() {
  const place = $("answer"), button = $("ask-button"), model = $("model").value || gateway.state().cascades[0].name;
  button.disabled = true;
  place.replaceChildren(h("p", { class: "note" }, "Asking …"));
  try {
    const found = await question(model);
    place.replaceChildren(...found.steps.map((step) => card(step, step.stage === found.corea.stage)), total(found.corea), ...more(model, found));
  } catch (error) {
    place.replaceChildren(problem(error));
  }
  button.disabled = false;
}

function problem(error) {
  const hint = error.status === 401 ? " Give an API key that pays; an admin key asks no model. Keys and budgets, below, makes one." : "";
  return h("p", { class: "error", role: "alert" }, `${error.message}${hint}`);
}

function card(step, answers) {
  const measured = step.score ?? step.confidence;
  const words = step.skipped ? `not asked: ${step.skipped}` : step.error ? `failed: ${step.error}`
    : step.decision === "defer" ? "deferred" : answers ? "answers" : step.decision === "keep" ? "kept" : "";
  const compared = step.decision && step.threshold !== null && measured !== null
    ? h("span", { class: "note" }, `${step.score === null ? "confidence" : "score"} ${threshold(measured)} ${measured >= step.threshold ? "≥" : "<"} threshold ${threshold(step.threshold)}`)
    : null;
  return h("div", { class: answers ? "step answer" : "step" },
    h("div", { class: "row" }, h("strong", {}, step.stage),
      step.confidence === null ? null : h("span", {}, `confidence ${decimal(step.confidence)}`, meter(step.confidence)),
      words ? h("span", { class: step.error ? "pill bad" : step.decision === "defer" ? "pill deferred" : "pill kept" }, words) : null, compared,
      h("span", { class: "grow" }), h("span", { class: "note" }, `${usd(step.cost_usd)} · ${seconds(step.seconds)}`)),
    step.text === null ? null : h("p", { class: "text", dir: "auto" }, step.text));
}

function total(corea) {
  const alone = corea.baseline_cost_usd === null ? "" : `; ${corea.baseline_estimated ? "an estimated " : ""}${usd(corea.baseline_cost_usd)} for the large model alone`;
  const saved = corea.saved_usd === null ? "" : corea.saved_usd < 0 ? `: ${usd(-corea.saved_usd)} more` : `: ${usd(corea.saved_usd)} saved`;
  return h("p", { class: "total" }, `${usd(corea.cost_usd)}${corea.cached ? " (from the cache)" : ""}${alone}${saved}.`);
}

function more(model, found) {
  const large = gateway.state().cascades.find((each) => each.name === model)?.stages.at(-1).name;
  if (!large || found.steps.some((step) => step.stage === large && step.text !== null)) return [];
  const cost = found.corea.baseline_cost_usd === null ? "its cost is not known" : `about ${usd(found.corea.baseline_cost_usd)}`;
  const button = h("button", { type: "button", onclick: async () => {
    button.disabled = true;
    try {
      const second = await question(`${model}/${large}`);
      button.replaceWith(...second.steps.map((step) => card(step, true)));
    } catch (error) {
      button.replaceWith(problem(error));
    }
  } }, `What would ${large} have said? (${cost})`);
  return [button];
}

// ---- keys ----------------------------------------------------------------------------------------------------------

export async function showKeys(force = false) {
  const place = $("keys-table"), focused = place !== document.activeElement && place.contains(document.activeElement);
  if (focused && !force) return; // a button in use stays where it is
  const { keys } = await gateway.call("/admin/keys");
  const head = [{ title: "Name", kind: "text name" }, { title: "Spent" }, { title: "Budget", kind: "optional" }, { title: "Requests", kind: "optional" }, { title: "", kind: "actions" }];
  const rows = keys.map((key) => ({
    kind: key.revoked_at === null ? null : "revoked",
    cells: [
      key.role === "key" ? key.name : `${key.name} (${key.role})`, key.role === "admin" ? "–" : usd(key.spent_usd), budget(key), number(key.requests),
      key.revoked_at !== null ? "revoked" : key.role === "admin" ? h("span", { class: "note" }, "by corea keys") : [
        h("button", { type: "button", class: "small", "aria-label": `Limits of ${key.name}`, onclick: () => limit(key) }, "Limits"), " ",
        h("button", { type: "button", class: "small", "aria-label": `Revoke ${key.name}`, onclick: () => revoke(key) }, "Revoke"),
      ],
    ],
  }));
  place.replaceChildren(table(head, rows, "No keys."));
  if (focused) place.focus();
}

function budget(key) {
  const set = BUDGETS.filter(([name]) => key[name] !== null).map(([name, words]) => `${usd(key[name])} ${words}`);
  const share = key.budget_usd ? key.spent_usd / key.budget_usd : null;
  return [set.join(", ") || "none", share === null ? null : meter(share, true)];
}

const given = (form, names) => Object.fromEntries(names.map((name) => [name, form.elements[name].value.trim()]).map(([name, value]) =>
  [name, value === "" ? null : name.endsWith("_minute") ? wholeNumber(name, value) : value]));

function wholeNumber(name, value) {
  if (!/^\d{1,15}$/.test(value)) throw new Error(`${name.replaceAll("_", " ")}: got ${value}, expected a whole number.`);
  return Number(value);
}

async function create(form) {
  show($("keys-error"), "");
  try {
    const limits = Object.entries(given(form, ["budget_month_usd", "requests_per_minute"])).filter(([, value]) => value !== null);
    const made = await gateway.call("/admin/keys", { method: "POST", body: { name: form.elements.name.value, ...Object.fromEntries(limits) } });
    form.reset();
    const use = h("button", { type: "button", class: "small", onclick: () => {
      $("payer").value = made.key;
      $("question").focus();
    } }, "Use in the playground");
    $("new-key").replaceChildren(h("div", { class: "secret" }, h("p", {}, `The key of ${made.name}, shown this once:`), h("p", {}, h("code", {}, made.key)), use));
    await showKeys(true);
  } catch (error) {
    show($("keys-error"), error.message);
  }
}

function dialog(title, body, action, work) {
  $("dialog-title").textContent = title;
  $("dialog-body").replaceChildren(...body);
  $("dialog-ok").textContent = action;
  show($("dialog-error"), "");
  $("dialog-form").onsubmit = async (event) => {
    event.preventDefault();
    try {
      await work($("dialog-form"));
      $("dialog").close();
      await showKeys(true);
    } catch (error) {
      show($("dialog-error"), error.message);
    }
  };
  $("dialog").showModal();
}

function limit(key) {
  const fields = LIMITS.map(([name, words]) => h("label", {}, words,
    h("input", { name, value: key[name] ?? "", placeholder: "none", inputmode: "decimal", autocomplete: "off" })));
  dialog(`Limits of ${key.name}`, fields, "Set limits", (form) => gateway.call(`/admin/keys/${encodeURIComponent(key.id)}`,
    { method: "PATCH", body: given(form, LIMITS.map(([name]) => name)) }));
}

function revoke(key) {
  dialog(`Revoke ${key.name}?`, [h("p", {}, key.role === "group" ? "All its keys are refused from now on, for good." : "Requests with it are refused from now on, for good.")], "Revoke",
    () => gateway.call(`/admin/keys/${encodeURIComponent(key.id)}/revoke`, { method: "POST", body: {} }));
}
