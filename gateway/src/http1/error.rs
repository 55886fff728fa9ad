//! Names why a message is refused. In: nothing. Out: a name, a status. Never here: what was in the message.

use std::fmt;

/// Why a message was refused. Its connection is closed after the answer: nobody knows where the next message begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FramingError {
    // Lines (RFC 9112 §2.2, §5).
    /// A line feed without its carriage return.
    BareLineFeed,
    /// A carriage return without its line feed.
    BareCarriageReturn,
    /// A NUL byte.
    Nul,
    /// A field line that goes on in the next (obs-fold), or white space before the first.
    FoldedField,
    /// White space in a field name or between it and the colon.
    SpaceInName,
    /// A field line without a colon.
    ColonMissing,
    /// A field without a name.
    NameEmpty,
    /// A field name that is no token.
    NameInvalid,
    /// A control character in a field value.
    ControlInValue,
    /// The head is longer than the limit.
    HeadTooLarge,
    /// More fields than the limit.
    TooManyFields,
    /// A head that the parser refuses for a cause of its own.
    HeadInvalid,

    // The start line (RFC 9112 §3, §4).
    /// No method, target and version with one space between.
    RequestLineInvalid,
    /// No version and status with one space between.
    StatusLineInvalid,
    /// A version other than HTTP/1.0 and HTTP/1.1.
    VersionUnsupported,
    /// A target that is no URI, or in a form that the method must not have.
    TargetInvalid,
    /// The target is longer than the limit.
    TargetTooLong,
    /// CONNECT: a gateway is no proxy.
    ConnectRefused,

    // The host (RFC 9112 §3.2).
    /// HTTP/1.1 without a Host.
    HostMissing,
    /// More than one Host, even of one value.
    HostRepeated,
    /// An empty Host.
    HostEmpty,
    /// A Host that is no host and port: a list, user information, a path.
    HostInvalid,
    /// A Host other than the authority of the target.
    HostMismatch,

    // The body's length (RFC 9112 §6).
    /// Content-Length and Transfer-Encoding in one message.
    LengthAndEncoding,
    /// More than one Content-Length, even of one value.
    LengthRepeated,
    /// A Content-Length other than plain digits, or beyond any size.
    LengthInvalid,
    /// A body longer than the limit.
    BodyTooLarge,
    /// A Transfer-Encoding that does not end in exactly one `chunked`, or more than one.
    EncodingInvalid,
    /// A transfer coding beside `chunked`.
    EncodingUnsupported,
    /// Transfer-Encoding in HTTP/1.0.
    EncodingInOldVersion,
    /// A body where the status allows none.
    BodyForbidden,

    // Other fields.
    /// A Connection field that is no list of tokens.
    ConnectionInvalid,
    /// A Connection option that would drop a field which is meant for every recipient.
    ConnectionNamesField,
    /// An expectation other than `100-continue`.
    ExpectationUnknown,
    /// A Content-Encoding: what cannot be read cannot be judged.
    ContentEncoded,
    /// More than one Content-Type.
    ContentTypeRepeated,
    /// An upstream that switches protocols, which nobody asked for.
    UpgradeUnasked,

    // Chunks (RFC 9112 §7.1).
    /// A chunk size that is not 1 to 16 hexadecimal digits.
    ChunkSizeInvalid,
    /// A chunk extension that is no `;name[=value]`.
    ChunkExtensionInvalid,
    /// Chunk extensions beyond the limit.
    ChunkExtensionTooLong,
    /// Chunk data without CRLF after it.
    ChunkEndMissing,
    /// Trailers beyond the limit.
    TrailersTooLarge,
}

impl FramingError {
    /// The status for a client; what an upstream did wrong is a 502 whatever it was.
    pub fn status(self) -> u16 {
        match self {
            Self::BodyTooLarge => 413,
            Self::TargetTooLong => 414,
            Self::ContentEncoded => 415,
            Self::ExpectationUnknown => 417,
            Self::HeadTooLarge | Self::TooManyFields | Self::TrailersTooLarge => 431,
            Self::EncodingUnsupported | Self::ConnectRefused => 501,
            Self::VersionUnsupported => 505,
            Self::BareLineFeed
            | Self::BareCarriageReturn
            | Self::Nul
            | Self::FoldedField
            | Self::SpaceInName
            | Self::ColonMissing
            | Self::NameEmpty
            | Self::NameInvalid
            | Self::ControlInValue
            | Self::HeadInvalid
            | Self::RequestLineInvalid
            | Self::StatusLineInvalid
            | Self::TargetInvalid
            | Self::HostMissing
            | Self::HostRepeated
            | Self::HostEmpty
            | Self::HostInvalid
            | Self::HostMismatch
            | Self::LengthAndEncoding
            | Self::LengthRepeated
            | Self::LengthInvalid
            | Self::EncodingInvalid
            | Self::EncodingInOldVersion
            | Self::BodyForbidden
            | Self::ConnectionInvalid
            | Self::ConnectionNamesField
            | Self::ContentTypeRepeated
            | Self::UpgradeUnasked
            | Self::ChunkSizeInvalid
            | Self::ChunkExtensionInvalid
            | Self::ChunkExtensionTooLong
            | Self::ChunkEndMissing => 400,
        }
    }

    /// The name in records and metrics, stable.
    pub fn name(self) -> &'static str {
        match self {
            Self::BareLineFeed => "bare-line-feed",
            Self::BareCarriageReturn => "bare-carriage-return",
            Self::Nul => "nul",
            Self::FoldedField => "folded-field",
            Self::SpaceInName => "space-in-name",
            Self::ColonMissing => "colon-missing",
            Self::NameEmpty => "name-empty",
            Self::NameInvalid => "name-invalid",
            Self::ControlInValue => "control-in-value",
            Self::HeadTooLarge => "head-too-large",
            Self::TooManyFields => "too-many-fields",
            Self::HeadInvalid => "head-invalid",
            Self::RequestLineInvalid => "request-line-invalid",
            Self::StatusLineInvalid => "status-line-invalid",
            Self::VersionUnsupported => "version-unsupported",
            Self::TargetInvalid => "target-invalid",
            Self::TargetTooLong => "target-too-long",
            Self::ConnectRefused => "connect-refused",
            Self::HostMissing => "host-missing",
            Self::HostRepeated => "host-repeated",
            Self::HostEmpty => "host-empty",
            Self::HostInvalid => "host-invalid",
            Self::HostMismatch => "host-mismatch",
            Self::LengthAndEncoding => "length-and-encoding",
            Self::LengthRepeated => "length-repeated",
            Self::LengthInvalid => "length-invalid",
            Self::BodyTooLarge => "body-too-large",
            Self::EncodingInvalid => "encoding-invalid",
            Self::EncodingUnsupported => "encoding-unsupported",
            Self::EncodingInOldVersion => "encoding-in-old-version",
            Self::BodyForbidden => "body-forbidden",
            Self::ConnectionInvalid => "connection-invalid",
            Self::ConnectionNamesField => "connection-names-field",
            Self::ExpectationUnknown => "expectation-unknown",
            Self::ContentEncoded => "content-encoded",
            Self::ContentTypeRepeated => "content-type-repeated",
            Self::UpgradeUnasked => "upgrade-unasked",
            Self::ChunkSizeInvalid => "chunk-size-invalid",
            Self::ChunkExtensionInvalid => "chunk-extension-invalid",
            Self::ChunkExtensionTooLong => "chunk-extension-too-long",
            Self::ChunkEndMissing => "chunk-end-missing",
            Self::TrailersTooLarge => "trailers-too-large",
        }
    }
}

impl fmt::Display for FramingError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl std::error::Error for FramingError {}
