//! What Portcullis promises, proven through its binary: one file a subject, one row a case.

mod framing;
