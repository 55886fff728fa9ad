// The TypeScript SDK 1.x, which knows the legacy era only: typescript1.mjs URL TOKEN ERA

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { CreateMessageRequestSchema, ElicitRequestSchema } from "@modelcontextprotocol/sdk/types.js";
import { answers, capabilities, commandLine, walk } from "./steps.mjs";

const { url, headers, era } = commandLine();
const client = new Client({ name: "portcullis-typescript1", version: "1.0.0" }, { capabilities });
client.setRequestHandler(CreateMessageRequestSchema, answers.sampling);
client.setRequestHandler(ElicitRequestSchema, answers.elicitation);
const transport = new StreamableHTTPClientTransport(url, { requestInit: { headers } });

await walk({
  name: "typescript1",
  era,
  client,
  call: (params, options) => client.callTool(params, undefined, options),
  connect: async () => {
    if (era === "modern") throw new Error("this SDK does not know the modern era");
    await client.connect(transport);
    return transport.protocolVersion;
  },
  close: async () => {
    await transport.terminateSession();
    await client.close();
    return "closed";
  },
});
