//! The seam to io_uring.
