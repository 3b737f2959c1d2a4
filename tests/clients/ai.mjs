// Vercel's `ai` with the default of `@ai-sdk/openai` (responses), unchanged, against a gateway: node ai.mjs BASE_URL KEY
import assert from "node:assert/strict";
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, stepCountIs, streamObject, streamText, tool } from "ai";
import { z } from "zod";

const [baseURL, apiKey] = process.argv.slice(2);
const model = createOpenAI({ baseURL, apiKey })("corea");
const LARGE = "It is nineteen, surely.";
const options = { model, maxRetries: 0, providerOptions: { openai: { store: false } } };
const add = tool({
  inputSchema: z.object({ a: z.number(), b: z.number() }),
  execute: async ({ a, b }) => String(a + b),
});

const whole = await generateText({ ...options, prompt: "easy: 12 + 7?" });
assert.equal(whole.text, "19");
assert.ok(whole.usage.totalTokens > 0);

let text = "";
for await (const piece of streamText({ ...options, prompt: "hard: 12 + 7?" }).textStream) text += piece;
assert.equal(text, LARGE);

const schema = z.object({ sum: z.number() });
let last;
for await (const part of streamObject({ ...options, schema, prompt: "easy: 12 + 7?" }).partialObjectStream) last = part;
assert.deepEqual(last, { sum: 19 });

const loop = { ...options, prompt: "easy: 12 + 7?", tools: { add }, stopWhen: stepCountIs(3) };
for (const result of [await generateText(loop), streamText(loop)]) {
  await result.consumeStream?.();
  const steps = await result.steps;
  assert.deepEqual(steps[0].toolCalls[0].input, { a: 12, b: 7 });
  assert.equal(steps[0].toolResults[0].output, "19");
  assert.equal(await result.text, LARGE);
}
console.log("all passed");
