//! A log, its witnesses over loopback, and what each of them then believes.
