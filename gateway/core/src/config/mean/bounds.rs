//! Bounds: sizes, counts and spans of time. In: what was typed. Out: values below their ceilings. Never here: a bound without a ceiling.

use std::time::Duration;

use super::Scene;
use crate::config::at::{At, Count, SizeText, SpanText};
use crate::config::settings::{Limits, Timeouts};
use crate::config::typed;
use crate::config::units;
use crate::limits::{HEAD_BYTES_MAX, HEADERS_MAX, JSON_DEPTH_MAX};

/// A bound's name as typed, its floor, default and ceiling.
pub(super) struct Bound {
    pub name: &'static str,
    pub least: u64,
    pub default: u64,
    pub most: u64,
}

impl Scene<'_, '_> {
    /// A count within its bounds.
    pub(super) fn count(&mut self, typed: Option<&At<Count>>, bound: &Bound) -> u64 {
        let Some(typed) = typed else { return bound.default };
        let count = u64::try_from(typed.value().0).unwrap_or(0);
        self.within(typed.at(), (count, typed.value().0.to_string()), bound, |value| value.to_string())
    }

    /// A size in bytes within its bounds.
    pub(super) fn size(&mut self, typed: Option<&At<SizeText>>, bound: &Bound) -> u64 {
        let Some(typed) = typed else { return bound.default };
        match units::size(&typed.value().0) {
            Ok(bytes) => self.within(typed.at(), (bytes, typed.value().0.clone()), bound, units::show_size),
            Err(fault) => {
                self.findings.refuse(typed.at(), fault.message, fault.cure);
                bound.default
            }
        }
    }

    /// A span of time within its bounds, which are milliseconds.
    pub(super) fn span(&mut self, typed: Option<&At<SpanText>>, bound: &Bound) -> Duration {
        let Some(typed) = typed else { return Duration::from_millis(bound.default) };
        match units::duration(&typed.value().0) {
            Ok(span) => {
                let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
                let show = |millis| units::show_duration(Duration::from_millis(millis));
                Duration::from_millis(self.within(typed.at(), (millis, typed.value().0.clone()), bound, show))
            }
            Err(fault) => {
                self.findings.refuse(typed.at(), fault.message, fault.cure);
                Duration::from_millis(bound.default)
            }
        }
    }

    fn within(&mut self, at: usize, (value, text): (u64, String), bound: &Bound, show: impl Fn(u64) -> String) -> u64 {
        if (bound.least..=bound.most).contains(&value) {
            return value;
        }
        let side = if value < bound.least { "below the least" } else { "above the most" };
        self.findings.refuse(
            at,
            format!("`{}` is {side} `{}` can be", text, bound.name),
            format!("write {} to {}", show(bound.least), show(bound.most)),
        );
        bound.default
    }
}

/// Bounds on what is held at once.
pub(super) fn limits(typed: Option<&typed::Limits>, scene: &mut Scene<'_, '_>) -> Limits {
    let none = typed::Limits::default();
    let typed = typed.unwrap_or(&none);
    let size = |scene: &mut Scene<'_, '_>, field: &Option<At<SizeText>>, name, (least, default, most)| {
        let bytes = scene.size(field.as_ref(), &Bound { name, least, default, most });
        usize::try_from(bytes).unwrap_or(usize::MAX)
    };
    let count = |scene: &mut Scene<'_, '_>, field: &Option<At<Count>>, name, (default, most)| {
        let count = scene.count(field.as_ref(), &Bound { name, least: 1, default, most });
        usize::try_from(count).unwrap_or(usize::MAX)
    };
    let head = HEAD_BYTES_MAX as u64;
    Limits {
        // An SDK client's head with a token is 2–5 KiB.
        head_bytes_max: size(scene, &typed.head, "limits.head", (KIB, head, head)),
        headers_max: count(scene, &typed.headers, "limits.headers", (HEADERS_MAX as u64, HEADERS_MAX as u64)),
        // A body is held in memory once a core and once more while it is parsed; files in arguments are base64.
        body_bytes_max: size(scene, &typed.body, "limits.body", (KIB, 4 * MIB, 64 * MIB)),
        json_depth_max: count(
            scene,
            &typed.json_depth,
            "limits.json_depth",
            (JSON_DEPTH_MAX as u64, JSON_DEPTH_MAX as u64),
        ),
        // File descriptors: Linux's own ceiling for one process is 2²⁰ unless raised.
        connections_max: count(scene, &typed.connections, "limits.connections", (16_384, 1 << 20)),
        agent_concurrency_max: u32::try_from(count(
            scene,
            &typed.agent_concurrency,
            "limits.agent_concurrency",
            (256, 65_536),
        ))
        .unwrap_or(u32::MAX),
        // Held once for each call in flight.
        result_bytes_max: size(scene, &typed.result, "limits.result", (4 * KIB, 32 * MIB, 64 * MIB)),
        event_bytes_max: size(scene, &typed.event, "limits.event", (4 * KIB, 4 * MIB, 64 * MIB)),
        // About 256 bytes each.
        sessions_max: count(scene, &typed.sessions, "limits.sessions", (65_536, 1 << 22)),
        owners_max: count(scene, &typed.owners, "limits.owners", (65_536, 1 << 22)),
    }
}

/// Bounds on how long it is held.
pub(super) fn timeouts(typed: Option<&typed::Timeouts>, scene: &mut Scene<'_, '_>) -> Timeouts {
    let none = typed::Timeouts::default();
    let typed = typed.unwrap_or(&none);
    let span = |scene: &mut Scene<'_, '_>, field: &Option<At<SpanText>>, name, (least, default, most)| {
        scene.span(field.as_ref(), &Bound { name, least, default, most })
    };
    let timeouts = Timeouts {
        head: span(scene, &typed.head, "timeouts.head", (100, 10 * SECOND, 5 * MINUTE)),
        body: span(scene, &typed.body, "timeouts.body", (100, 30 * SECOND, 30 * MINUTE)),
        keep_alive: span(scene, &typed.keep_alive, "timeouts.keep_alive", (SECOND, 75 * SECOND, HOUR)),
        write: span(scene, &typed.write, "timeouts.write", (100, 30 * SECOND, 5 * MINUTE)),
        connect: span(scene, &typed.connect, "timeouts.connect", (10, 3 * SECOND, MINUTE)),
        first_byte: span(scene, &typed.first_byte, "timeouts.first_byte", (100, 60 * SECOND, HOUR)),
        total: span(scene, &typed.total, "timeouts.total", (SECOND, 300 * SECOND, 24 * HOUR)),
        upstream_idle: span(scene, &typed.upstream_idle, "timeouts.upstream_idle", (100, 4 * SECOND, 10 * MINUTE)),
        upstream_lifetime: span(
            scene,
            &typed.upstream_lifetime,
            "timeouts.upstream_lifetime",
            (SECOND, 300 * SECOND, 24 * HOUR),
        ),
        // Intermediaries and SDK clients give a silent stream 60 s and more.
        stream_keep_alive: span(
            scene,
            &typed.stream_keep_alive,
            "timeouts.stream_keep_alive",
            (SECOND, 15 * SECOND, 50 * SECOND),
        ),
        drain: span(scene, &typed.drain, "timeouts.drain", (0, 30 * SECOND, HOUR)),
        session_idle: span(scene, &typed.session_idle, "timeouts.session_idle", (MINUTE, 30 * MINUTE, 7 * 24 * HOUR)),
    };
    if timeouts.first_byte > timeouts.total
        && let Some(at) = typed.first_byte.as_ref().or(typed.total.as_ref()).map(At::at)
    {
        scene.findings.refuse(
            at,
            format!(
                "`timeouts.first_byte` ({}) is longer than `timeouts.total` ({})",
                units::show_duration(timeouts.first_byte),
                units::show_duration(timeouts.total)
            ),
            "shorten the one or lengthen the other",
        );
    }
    if let (Some(idle), true) = (&typed.upstream_idle, timeouts.upstream_idle > Duration::from_millis(4 * SECOND)) {
        scene.findings.warn(
            idle.at(),
            "Node and uvicorn close a connection after 5 s of silence, and a call that meets the close is lost",
            "keep `upstream_idle` at `4s` unless every upstream keeps connections longer",
        );
    }
    timeouts
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
