// The npm package `openai`, unchanged, against a running gateway: node check.mjs BASE_URL KEY
import assert from "node:assert/strict";
import OpenAI from "openai";

const [baseURL, apiKey] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0, timeout: 20_000 });
const LARGE = "It is nineteen, surely.";
const ask = (text, more = {}) => ({ model: "corea", messages: [{ role: "user", content: text }], ...more });
const tools = [{ type: "function", function: { name: "add", parameters: { type: "object", properties: {} } } }];

const checks = {
  async "a kept answer"() {
    const answer = await client.chat.completions.create(ask("easy: 12 + 7?"));
    assert.equal(answer.choices[0].message.content, "19");
    assert.equal(answer.corea.stage, "small");
    assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
  },
  async "a deferred answer, with headers"() {
    const { data, response } = await client.chat.completions.create(ask("hard: 12 + 7?")).withResponse();
    assert.equal(data.choices[0].message.content, LARGE);
    assert.equal(response.headers.get("x-corea-stage"), "large");
  },
  async "a stream with usage"() {
    const stream = await client.chat.completions.create(
      ask("hard: 12 + 7?", { stream: true, stream_options: { include_usage: true } }),
    );
    let text = "";
    let usage = null;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta?.content ?? "";
      usage = chunk.usage ?? usage;
    }
    assert.equal(text, LARGE);
    assert.ok(usage.total_tokens > 0);
  },
  async "the stream helper"() {
    const stream = client.chat.completions.stream(ask("easy: 12 + 7?"));
    assert.equal(await stream.finalContent(), "19");
  },
  async "tools"() {
    const answer = await client.chat.completions.create(ask("easy: 12 + 7?", { tools }));
    assert.equal(answer.choices[0].finish_reason, "tool_calls");
    assert.equal(answer.choices[0].message.tool_calls[0].function.name, "add");
  },
  async "streamed tools"() {
    const final = await client.chat.completions.stream(ask("easy: 12 + 7?", { tools })).finalChatCompletion();
    assert.deepEqual(JSON.parse(final.choices[0].message.tool_calls[0].function.arguments), { a: 12, b: 7 });
  },
  async "errors"() {
    await assert.rejects(client.chat.completions.create(ask("hi", { model: "nope" })), (error) => {
      assert.ok(error instanceof OpenAI.NotFoundError);
      assert.equal(error.code, "model_not_found");
      return true;
    });
    await assert.rejects(client.chat.completions.create(ask("hi", { n: 2 })), OpenAI.BadRequestError);
    await assert.rejects(client.chat.completions.create(ask("status 429")), OpenAI.RateLimitError);
    const stranger = new OpenAI({ baseURL, apiKey: "corea-wrong", maxRetries: 0 });
    await assert.rejects(stranger.chat.completions.create(ask("hi")), OpenAI.AuthenticationError);
  },
  async "a timeout"() {
    await assert.rejects(
      client.chat.completions.create(ask("hang"), { timeout: 300 }),
      OpenAI.APIConnectionTimeoutError,
    );
  },
  async "responses, whole and streamed"() {
    const answer = await client.responses.create({ model: "corea", input: "easy: 12 + 7?" });
    assert.equal(answer.output_text, "19");
    const stream = client.responses.stream({ model: "corea", input: "hard: 12 + 7?" });
    assert.equal((await stream.finalResponse()).output_text, LARGE);
  },
  async "a loop of responses with a tool"() {
    const flat = [{ type: "function", name: "add", parameters: { type: "object", properties: {} }, strict: false }];
    const input = [{ role: "user", content: "easy: 12 + 7?" }];
    const { output } = await client.responses.create({ model: "corea", input, tools: flat });
    assert.deepEqual(JSON.parse(output[0].arguments), { a: 12, b: 7 });
    input.push(...output, { type: "function_call_output", call_id: output[0].call_id, output: "19" });
    const after = await client.responses.create({ model: "corea", input, tools: flat });
    assert.equal(after.output_text, LARGE);
  },
  async "models"() {
    const names = [];
    for await (const model of client.models.list()) names.push(model.id);
    assert.ok(names.includes("corea/0"));
  },
};

for (const [name, check] of Object.entries(checks)) {
  await check();
  console.log(`ok: ${name}`);
}
console.log("all passed");
