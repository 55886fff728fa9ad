//! Bounds. The hard ceilings that no configuration can raise; each says what it is derived from.

/// A request head: 64 fields × (64 name + 192 value) bytes; larger heads get 431 (RFC 6585 §5).
pub const HEAD_BYTES_MAX: usize = 64 * (64 + 192);

/// Fields in one head; more get 431. Browsers send about 20, SDK clients about 12.
pub const HEADERS_MAX: usize = 64;

/// A compact JWS: the 16 KiB head must hold it beside everything else, identity providers stay below 4 KiB.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Nesting of a JSON body: tool schemas in the wild stay below 20; the walk over the tape recurses this deep.
pub const JSON_DEPTH_MAX: usize = 64;

/// The `kid` of a JOSE header is a map key to us, never a path or a query.
pub const KEY_ID_BYTES_MAX: usize = 128;

/// Tool, prompt and method names: MCP says 1–128 characters for tools; methods are shorter.
pub const NAME_BYTES_MAX: usize = 256;

/// A JSON-RPC id that we must remember or echo; SDKs send integers or UUIDs.
pub const ID_BYTES_MAX: usize = 256;

/// Policy ids kept with a decision; a decision determined by more names the first and says how many.
pub const DETERMINING_MAX: usize = 16;
