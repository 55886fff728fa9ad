// Walks through MCP with any TypeScript SDK and says how each step went: one JSON line a step.
// In: an SDK's client behind a few functions. Out: lines on stdout, exit code 1 if any step failed.

const SAMPLED = "Paris, said the script";
const STEP_MS_MAX = 15_000;

/** What a client answers when it is asked. */
export const answers = {
  sampling: async () => ({
    role: "assistant",
    content: { type: "text", text: SAMPLED },
    model: "scripted",
    stopReason: "endTurn",
  }),
  elicitation: async () => ({
    action: "accept",
    content: { username: "grace", email: "grace@example.com", name: "grace" },
  }),
};

export const capabilities = { sampling: {}, elicitation: {}, roots: {} };

/** The command line: URL TOKEN ERA, with `-` for no token. */
export function commandLine() {
  const [url, token, era] = process.argv.slice(2);
  if (!url || !token || !["legacy", "modern", "auto"].includes(era)) {
    console.error("usage: URL TOKEN legacy|modern|auto");
    process.exit(2);
  }
  const headers = token === "-" ? {} : { authorization: `Bearer ${token}` };
  return { url: new URL(url), headers, era };
}

/**
 * Runs every step. `sdk` offers: name, era, connect() -> version, close(), client (listTools, listResources, …)
 * and call(params, options), where options may hold `onprogress` and `signal`.
 */
export async function walk(sdk) {
  let failed = false;
  async function step(name, work) {
    let line;
    try {
      line = { ok: true, detail: String(await limited(work())) };
    } catch (error) {
      failed = true;
      line = { ok: false, detail: `${error?.name}: ${error?.message}` };
    }
    console.log(JSON.stringify({ client: sdk.name, era: sdk.era, step: name, ...line }));
    return line;
  }

  const connected = await step("connect", sdk.connect);
  if (connected.ok) {
    const modern = connected.detail >= "2026-07-28";
    await step("tools_list", () => toolsList(sdk));
    await step("call", () => call(sdk));
    await step("progress", () => progress(sdk));
    await step("sampling", () => sampling(sdk, modern));
    await step("elicitation", () => elicitation(sdk, modern));
    await step("cancellation", () => cancellation(sdk));
    await step("resources", () => resources(sdk));
    await step("prompts", () => prompts(sdk));
    await step("close", sdk.close);
  }
  // Streams that the server still holds open must not keep the process alive.
  process.exit(failed ? 1 : 0);
}

async function toolsList(sdk) {
  const { tools } = await sdk.client.listTools();
  expect(tools.some((tool) => tool.name === "test_simple_text"), "test_simple_text is not listed");
  return `${tools.length} tools`;
}

async function call(sdk) {
  const said = await called(sdk, "test_simple_text", {});
  expect(said === "This is a simple text response for testing.", `unexpected answer: ${said}`);
  return said;
}

async function progress(sdk) {
  const steps = [];
  await called(sdk, "test_tool_with_progress", {}, { onprogress: (step) => steps.push(step.progress) });
  expect(steps.join() === "0,50,100", `unexpected progress: ${steps}`);
  return steps.join();
}

async function sampling(sdk, modern) {
  const tool = modern ? "test_input_required_result_sampling" : "test_sampling";
  const said = await called(sdk, tool, { prompt: "What is the capital of France?" });
  expect(said.includes(SAMPLED), `unexpected answer: ${said}`);
  return said;
}

async function elicitation(sdk, modern) {
  const tool = modern ? "test_input_required_result_elicitation" : "test_elicitation";
  const said = await called(sdk, tool, { message: "Who are you?" });
  expect(said.includes("grace"), `unexpected answer: ${said}`);
  return said;
}

async function cancellation(sdk) {
  const label = `${sdk.name}-${sdk.era}-${process.pid}`;
  const abort = new AbortController();
  const started = Promise.withResolvers();
  const options = { signal: abort.signal, onprogress: started.resolve };
  const ended = called(sdk, "slow_compute", { seconds: 60, label }, options).then(
    () => "answered",
    () => "gave up",
  );
  // The first progress says that the call is under way.
  await Promise.race([started.promise, ended]);
  abort.abort("changed my mind");
  expect((await ended) === "gave up", "the call was answered although it was cancelled");
  return called(sdk, "test_cancelled_calls", { label });
}

async function resources(sdk) {
  const { resources } = await sdk.client.listResources();
  expect(resources.some((resource) => resource.uri === "test://static-text"), "test://static-text is not listed");
  const { contents } = await sdk.client.readResource({ uri: "test://static-text" });
  const text = contents[0]?.text;
  expect(text === "This is the content of the static text resource.", `unexpected text: ${text}`);
  return `${resources.length} resources`;
}

async function prompts(sdk) {
  const { prompts } = await sdk.client.listPrompts();
  const request = { name: "test_prompt_with_arguments", arguments: { arg1: "hello", arg2: "world" } };
  const { messages } = await sdk.client.getPrompt(request);
  const text = messages[0]?.content?.text;
  expect(text === "Prompt with arguments: arg1='hello', arg2='world'", `unexpected prompt: ${text}`);
  return `${prompts.length} prompts`;
}

/** The first text of a tool's successful answer. */
async function called(sdk, name, args, options) {
  const result = await sdk.call({ name, arguments: args }, options);
  const text = result.content?.[0]?.text;
  expect(!result.isError, `${name} failed: ${text}`);
  return text;
}

function expect(holds, words) {
  if (!holds) throw new Error(words);
}

/** Waits for one step, but not for ever. */
function limited(work) {
  const late = Promise.withResolvers();
  const timer = setTimeout(() => late.reject(new Error("no answer in time")), STEP_MS_MAX);
  return Promise.race([work, late.promise]).finally(() => clearTimeout(timer));
}
