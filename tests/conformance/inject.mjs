// Gives every request of the MCP conformance runner the headers of MCP_TEST_HEADERS (a JSON object), since the runner
// has no option for a token: `MCP_TEST_HEADERS='{"authorization":"Bearer …"}' node --import ./inject.mjs RUNNER …`.
// The runner sends by fetch and undici (both through the global dispatcher) and by node:http. A header that a request
// brings itself is left alone. This file must lie beside the runner's node_modules, where `undici` resolves.

import http from "node:http";
import { syncBuiltinESMExports } from "node:module";
import { getGlobalDispatcher, setGlobalDispatcher } from "undici";

const added = Object.entries(JSON.parse(process.env.MCP_TEST_HEADERS ?? "{}"));

if (added.length > 0) {
  setGlobalDispatcher(
    getGlobalDispatcher().compose(
      (dispatch) => (options, handler) => dispatch({ ...options, headers: completed(options.headers) }, handler),
    ),
  );

  const request = http.request;
  http.request = function (...args) {
    const outgoing = request.apply(this, args);
    for (const [name, value] of added) {
      if (!outgoing.hasHeader(name)) outgoing.setHeader(name, value);
    }
    return outgoing;
  };
  syncBuiltinESMExports();
}

/** The headers of one request, in any of undici's three forms, with ours where it has none of that name. */
function completed(headers) {
  const pairs = [];
  if (Array.isArray(headers)) {
    for (let index = 0; index + 1 < headers.length; index += 2) pairs.push([headers[index], headers[index + 1]]);
  } else if (typeof headers?.[Symbol.iterator] === "function") {
    pairs.push(...headers);
  } else {
    pairs.push(...Object.entries(headers ?? {}));
  }
  const present = new Set(pairs.map(([name]) => String(name).toLowerCase()));
  for (const [name, value] of added) {
    if (!present.has(name.toLowerCase())) pairs.push([name, value]);
  }
  return pairs.flat();
}
