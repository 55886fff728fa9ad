//! Counts what happens. In: events of one core. Out: sums over cores, in Prometheus' text format. Never here: names made at run time.
//!
//! Each core adds to its own page of relaxed atomics; only the control plane reads across cores.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

macro_rules! counted {
    ($kind:ident, $doc:literal, $($variant:ident => $name:literal, $help:literal;)+) => {
        #[doc = $doc]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $kind { $(#[doc = $help] $variant),+ }

        impl $kind {
            /// Every member, in the order it is printed.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The metric's name and its help line.
            pub fn texts(self) -> (&'static str, &'static str) {
                match self { $(Self::$variant => ($name, $help)),+ }
            }
        }
    };
}

counted! { Count, "What only grows.",
    Connections => "portcullis_connections_total", "Connections accepted.";
    ConnectionsRefused => "portcullis_connections_refused_total", "Connections refused at the connection bound.";
    UnprovenCut => "portcullis_unproven_cut_total", "Connections cut because they proved no agent within the deadline or budget of `[kernel]`.";
    HandshakesFailed => "portcullis_tls_handshakes_failed_total", "TLS handshakes that failed.";
    Requests => "portcullis_requests_total", "HTTP requests read.";
    Allowed => "portcullis_decisions_allowed_total", "Calls that policy permitted.";
    Denied => "portcullis_decisions_denied_total", "Calls that policy refused.";
    ObservedDenied => "portcullis_decisions_observed_denied_total", "Calls that policy would have refused on a route in observe mode.";
    Unauthenticated => "portcullis_unauthenticated_total", "Requests refused for want of a proven identity.";
    Malformed => "portcullis_malformed_total", "Requests refused for their form.";
    Refused => "portcullis_refused_total", "Requests refused for any other cause.";
    TokensVerified => "portcullis_tokens_verified_total", "Tokens whose signature was checked, that is, cache misses.";
    UpstreamConnects => "portcullis_upstream_connects_total", "Connections opened toward upstreams.";
    UpstreamReuses => "portcullis_upstream_reuses_total", "Requests sent on a kept upstream connection.";
    UpstreamFailures => "portcullis_upstream_failures_total", "Calls that an upstream failed.";
    JournalFailures => "portcullis_journal_failures_total", "Calls refused because the audit log could not be written.";
    ResultsWithheld => "portcullis_results_withheld_total", "Results that a rule over results held back.";
    ToolsDrifted => "portcullis_tools_drifted_total", "Listed tools hidden because their definition is not the approved one.";
    ListsFiltered => "portcullis_lists_filtered_total", "Lists from which something was taken out.";
    PolicySlow => "portcullis_policy_slow_total", "Decisions worked out by Cedar's evaluator because a rule has no program; `portcullis policy explain --slow` names it.";
    PolicyWatched => "portcullis_policy_watched_total", "Live decisions that Cedar judged a second time.";
    PolicyMismatches => "portcullis_policy_mismatches_total", "Decisions on which the compiled rules and Cedar differ; none ought to.";
    Quarantines => "portcullis_policy_quarantines_total", "Rule sets whose tables were taken out of service for it.";
    Panics => "portcullis_panics_total", "Requests that ended in a panic; none ought to.";
}

counted! { Gauge, "What grows and shrinks.",
    ConnectionsOpen => "portcullis_connections_open", "Connections open now.";
    RequestsOpen => "portcullis_requests_open", "Requests being served now.";
    StreamsOpen => "portcullis_streams_open", "Event streams open now.";
}

/// The page of one core.
pub struct Counters {
    counts: [AtomicU64; Count::ALL.len()],
    gauges: [AtomicI64; Gauge::ALL.len()],
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            counts: [const { AtomicU64::new(0) }; Count::ALL.len()],
            gauges: [const { AtomicI64::new(0) }; Gauge::ALL.len()],
        }
    }
}

impl Counters {
    /// Adds one.
    pub fn add(&self, count: Count) {
        if let Some(cell) = self.counts.get(count as usize) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Holds a gauge up by one until the guard drops.
    pub fn hold(self: &Arc<Self>, gauge: Gauge) -> Held {
        if let Some(cell) = self.gauges.get(gauge as usize) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
        Held { counters: self.clone(), gauge }
    }

    /// What one counter stands at.
    pub fn count(&self, count: Count) -> u64 {
        self.counts.get(count as usize).map_or(0, |cell| cell.load(Ordering::Relaxed))
    }

    /// What one gauge stands at.
    pub fn gauge(&self, gauge: Gauge) -> i64 {
        self.gauges.get(gauge as usize).map_or(0, |cell| cell.load(Ordering::Relaxed))
    }
}

/// Lowers its gauge when dropped.
pub struct Held {
    counters: Arc<Counters>,
    gauge: Gauge,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(cell) = self.counters.gauges.get(self.gauge as usize) {
            cell.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// All cores' pages as Prometheus reads them (text exposition format 0.0.4).
pub fn prometheus(pages: &[Arc<Counters>]) -> String {
    let mut out = String::with_capacity(4096);
    for count in Count::ALL {
        let (name, help) = count.texts();
        let sum: u64 = pages.iter().map(|page| page.count(*count)).sum();
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {sum}");
    }
    for gauge in Gauge::ALL {
        let (name, help) = gauge.texts();
        let sum: i64 = pages.iter().map(|page| page.gauge(*gauge)).sum();
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {sum}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_sum_over_cores_and_gauges_fall_back() {
        let pages = [Arc::new(Counters::default()), Arc::new(Counters::default())];
        pages[0].add(Count::Allowed);
        pages[1].add(Count::Allowed);
        let held = pages[0].hold(Gauge::StreamsOpen);
        assert!(prometheus(&pages).contains("\nportcullis_decisions_allowed_total 2\n"));
        assert!(prometheus(&pages).contains("\nportcullis_streams_open 1\n"));
        drop(held);
        assert!(prometheus(&pages).contains("\nportcullis_streams_open 0\n"));
    }
}
