// The TypeScript SDK 2.x in either era: typescript2.mjs URL TOKEN ERA

import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { answers, capabilities, commandLine, walk } from "./steps.mjs";

const { url, headers, era } = commandLine();
const mode = { legacy: "legacy", auto: "auto", modern: { pin: "2026-07-28" } }[era];
const client = new Client(
  { name: "portcullis-typescript2", version: "1.0.0" },
  { capabilities, versionNegotiation: { mode } },
);
client.setRequestHandler("sampling/createMessage", answers.sampling);
client.setRequestHandler("elicitation/create", answers.elicitation);
const transport = new StreamableHTTPClientTransport(url, { requestInit: { headers } });

await walk({
  name: "typescript2",
  era,
  client,
  call: (params, options) => client.callTool(params, options),
  connect: async () => {
    await client.connect(transport);
    return client.getNegotiatedProtocolVersion();
  },
  close: async () => {
    if (transport.sessionId) await transport.terminateSession();
    await client.close();
    return "closed";
  },
});
