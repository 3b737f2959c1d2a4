// Vercel's `ai` with `@ai-sdk/openai-compatible` (chat), unchanged: node compatible.mjs BASE_URL KEY
import assert from "node:assert/strict";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, stepCountIs, streamObject, streamText, tool } from "ai";
import { z } from "zod";

const [baseURL, apiKey] = process.argv.slice(2);
const provider = createOpenAICompatible({ name: "corea", baseURL, apiKey, supportsStructuredOutputs: true });
const LARGE = "It is nineteen, surely.";
const options = { model: provider("corea"), maxRetries: 0 };

assert.equal((await generateText({ ...options, prompt: "easy: 12 + 7?" })).text, "19");
let text = "";
for await (const piece of streamText({ ...options, prompt: "hard: 12 + 7?" }).textStream) text += piece;
assert.equal(text, LARGE);

const schema = z.object({ sum: z.number() });
let last;
for await (const part of streamObject({ ...options, schema, prompt: "easy: 12 + 7?" }).partialObjectStream) last = part;
assert.deepEqual(last, { sum: 19 });

// The upstream refuses the second turn unless its reasoning comes back.
const add = tool({
  inputSchema: z.object({ a: z.number(), b: z.number() }),
  execute: async ({ a, b }) => String(a + b),
});
const loop = { ...options, prompt: "reason: 12 + 7?", tools: { add }, stopWhen: stepCountIs(3) };
for (const result of [await generateText(loop), streamText(loop)]) {
  await result.consumeStream?.();
  const steps = await result.steps;
  assert.equal(steps[0].reasoningText, "12 and 7: add them");
  assert.deepEqual(steps[0].toolCalls[0].input, { a: 12, b: 7 });
  assert.equal(await result.text, LARGE);
}
console.log("all passed");
