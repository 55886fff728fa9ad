//! Draws. In: numbers with names. Out: SVG that takes its colours from the page around it, light or dark. Never here: what the numbers mean.

use std::fmt::Write as _;

/// Along which a number is laid out.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// What stands beside it.
    pub label: String,
    scale: Scale,
    min: f64,
    max: f64,
    ticks: Vec<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scale {
    Linear,
    Logarithmic,
}

/// A point of a line, with the words that appear over it.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Along the horizontal axis.
    pub x: f64,
    /// Along the vertical one.
    pub y: f64,
    /// Said when it is pointed at.
    pub title: String,
}

/// A line with its colour's class.
#[derive(Clone, Debug)]
pub struct Line {
    /// Class of the page's style.
    pub class: &'static str,
    /// Its points, from left to right.
    pub points: Vec<Point>,
}

/// A bar with what lies around its number.
#[derive(Clone, Debug)]
pub struct Bar {
    /// Class of the page's style.
    pub class: &'static str,
    /// Its name.
    pub label: String,
    /// Its length.
    pub value: f64,
    /// A part of it that is set off.
    pub inner: Option<f64>,
    /// The least of the rounds.
    pub min: f64,
    /// The most.
    pub max: f64,
}

/// Ticks that an axis has about; more would touch each other.
const TICKS: f64 = 5.0;

impl Axis {
    /// From nothing to at least `max`, ending at a round number.
    pub fn linear(label: &str, max: f64) -> Self {
        let max = if max.is_finite() && max > 0.0 { max } else { 1.0 };
        let rough = max / TICKS;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|factor| factor * power);
        let step = step.into_iter().find(|step| *step >= rough * 0.999_999).unwrap_or(rough);
        let count = (max / step - 1e-9).ceil().max(1.0) as u32;
        let ticks: Vec<f64> = (0..=count).map(|tick| f64::from(tick) * step).collect();
        Self { label: label.to_owned(), scale: Scale::Linear, min: 0.0, max: f64::from(count) * step, ticks }
    }

    /// From at most `min` to at least `max`, ending at one, two or five times a power of ten on both sides.
    pub fn logarithmic(label: &str, min: f64, max: f64) -> Self {
        let min = if min.is_finite() && min > 0.0 { min } else { 1.0 };
        let max = if max.is_finite() && max > min { max } else { min * 10.0 };
        let (first, last) = (min.log10().floor() as i32, max.log10().ceil() as i32);
        let marks: Vec<f64> =
            (first..=last).flat_map(|power| [1.0, 2.0, 5.0].map(|factor| factor * 10_f64.powi(power))).collect();
        let below = marks.iter().copied().filter(|mark| *mark <= min * 1.000_001).fold(0.0, f64::max);
        let above = marks.iter().copied().filter(|mark| *mark >= max * 0.999_999).fold(f64::INFINITY, f64::min);
        let ticks: Vec<f64> = marks.into_iter().filter(|mark| *mark >= below && *mark <= above).collect();
        // Over many powers of ten only the powers themselves have room.
        let bare: Vec<f64> = ticks.iter().copied().filter(|tick| tick.log10().fract().abs() < 1e-9).collect();
        let ticks = if ticks.len() > 9 && bare.len() > 2 { bare } else { ticks };
        Self { label: label.to_owned(), scale: Scale::Logarithmic, min: below, max: above, ticks }
    }

    /// Where a number lies, from 0 to 1; what is beyond the ends lies at them.
    pub fn place(&self, number: f64) -> f64 {
        let part = match self.scale {
            Scale::Linear => (number - self.min) / (self.max - self.min),
            Scale::Logarithmic => {
                (number.max(self.min).log10() - self.min.log10()) / (self.max.log10() - self.min.log10())
            }
        };
        part.clamp(0.0, 1.0)
    }
}

/// A number as short as it can be told.
pub fn short(number: f64) -> String {
    let (size, sign) = (number.abs(), if number < 0.0 { "-" } else { "" });
    let (value, unit) = match size {
        size if size >= 1e6 => (size / 1e6, "M"),
        size if size >= 10_000.0 => (size / 1e3, "k"),
        size => (size, ""),
    };
    let text = match value {
        value if value >= 100.0 || value == 0.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    };
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{sign}{text}{unit}")
}

/// Text inside of markup.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 320.0;
/// Room for what stands beside the axes: left, top, right, bottom.
const ROOM: (f64, f64, f64, f64) = (62.0, 14.0, 18.0, 46.0);

/// Lines over two axes.
pub fn lines(name: &str, x: &Axis, y: &Axis, lines: &[Line]) -> String {
    let (left, top, right, bottom) = (ROOM.0, ROOM.1, WIDTH - ROOM.2, HEIGHT - ROOM.3);
    let at = |point: &Point| (left + x.place(point.x) * (right - left), bottom - y.place(point.y) * (bottom - top));
    let mut out = opened(name, WIDTH, HEIGHT);
    for tick in &y.ticks {
        let height = bottom - y.place(*tick) * (bottom - top);
        put(&mut out, &format!(r#"<line class="grid" x1="{left}" x2="{right}" y1="{height:.1}" y2="{height:.1}"/>"#));
        put(
            &mut out,
            &format!(
                r#"<text class="tick" x="{}" y="{:.1}" text-anchor="end">{}</text>"#,
                left - 8.0,
                height + 4.0,
                short(*tick)
            ),
        );
    }
    for tick in &x.ticks {
        let across = left + x.place(*tick) * (right - left);
        put(
            &mut out,
            &format!(r#"<line class="mark" x1="{across:.1}" x2="{across:.1}" y1="{bottom}" y2="{}"/>"#, bottom + 4.0),
        );
        put(
            &mut out,
            &format!(
                r#"<text class="tick" x="{across:.1}" y="{}" text-anchor="middle">{}</text>"#,
                bottom + 18.0,
                short(*tick)
            ),
        );
    }
    put(&mut out, &format!(r#"<line class="axis" x1="{left}" x2="{right}" y1="{bottom}" y2="{bottom}"/>"#));
    let middle = f64::midpoint(left, right);
    put(
        &mut out,
        &format!(
            r#"<text class="label" x="{middle}" y="{}" text-anchor="middle">{}</text>"#,
            HEIGHT - 8.0,
            escaped(&x.label)
        ),
    );
    let upright = f64::midpoint(top, bottom);
    put(
        &mut out,
        &format!(
            r#"<text class="label" transform="translate(14 {upright}) rotate(-90)" text-anchor="middle">{}</text>"#,
            escaped(&y.label)
        ),
    );
    for line in lines {
        let path: Vec<String> = line.points.iter().map(&at).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        put(&mut out, &format!(r#"<polyline class="line {}" points="{}"/>"#, line.class, path.join(" ")));
        for point in &line.points {
            let (x, y) = at(point);
            put(
                &mut out,
                &format!(
                    r#"<circle class="dot {}" cx="{x:.1}" cy="{y:.1}" r="3.5"><title>{}</title></circle>"#,
                    line.class,
                    escaped(&point.title)
                ),
            );
        }
    }
    out.push_str("</svg>");
    out
}

const ROW: f64 = 26.0;
/// Room for the names of bars and for their numbers.
const NAMES: f64 = 172.0;
const NUMBERS: f64 = 64.0;
const BARS_WIDTH: f64 = 560.0;

/// Bars below each other, each with a whisker from the least to the most.
pub fn bars(name: &str, unit: &str, bars: &[Bar]) -> String {
    let longest = bars.iter().map(|bar| bar.max.max(bar.value)).fold(0.0, f64::max);
    let axis = Axis::linear(unit, longest);
    let (left, right) = (NAMES, BARS_WIDTH - NUMBERS);
    let bottom = 6.0 + ROW * bars.len() as f64;
    let at = |number: f64| left + axis.place(number) * (right - left);
    let mut out = opened(name, BARS_WIDTH, bottom + 40.0);
    for tick in &axis.ticks {
        let x = at(*tick);
        put(&mut out, &format!(r#"<line class="grid" x1="{x:.1}" x2="{x:.1}" y1="4" y2="{bottom}"/>"#));
        put(
            &mut out,
            &format!(
                r#"<text class="tick" x="{x:.1}" y="{}" text-anchor="middle">{}</text>"#,
                bottom + 15.0,
                short(*tick)
            ),
        );
    }
    put(
        &mut out,
        &format!(
            r#"<text class="label" x="{:.1}" y="{}" text-anchor="middle">{}</text>"#,
            f64::midpoint(left, right),
            bottom + 33.0,
            escaped(unit)
        ),
    );
    for (row, bar) in (0_u32..).zip(bars) {
        draw(&mut out, bar, (unit, 6.0 + ROW * f64::from(row)), &at);
    }
    out.push_str("</svg>");
    out
}

/// One bar with its name, its whisker and its number, at this height.
fn draw(out: &mut String, bar: &Bar, (unit, y): (&str, f64), at: &dyn Fn(f64) -> f64) {
    let (left, class) = (NAMES, bar.class);
    let (end, middle) = (at(bar.value), y + 10.0);
    let title =
        format!("{}: {} {unit}, rounds from {} to {}", bar.label, short(bar.value), short(bar.min), short(bar.max));
    put(out, &format!("<g><title>{}</title>", escaped(&title)));
    put(
        out,
        &format!(
            r#"<text class="name" x="{}" y="{}" text-anchor="end">{}</text>"#,
            left - 8.0,
            y + 14.0,
            escaped(&bar.label)
        ),
    );
    let inner = bar.inner.map_or(end, at).min(end);
    put(
        out,
        &format!(r#"<rect class="bar rest {class}" x="{left}" y="{y}" width="{:.1}" height="20" rx="2"/>"#, end - left),
    );
    put(
        out,
        &format!(r#"<rect class="bar {class}" x="{left}" y="{y}" width="{:.1}" height="20" rx="2"/>"#, inner - left),
    );
    let (least, most) = (at(bar.min), at(bar.max));
    put(
        out,
        &format!(
            r#"<path class="whisker" d="M{least:.1} {middle}H{most:.1}M{least:.1} {}v8M{most:.1} {}v8"/>"#,
            middle - 4.0,
            middle - 4.0
        ),
    );
    put(
        out,
        &format!(
            r#"<text class="number" x="{:.1}" y="{}">{}</text></g>"#,
            most.max(end) + 8.0,
            y + 14.5,
            short(bar.value)
        ),
    );
}

fn opened(name: &str, width: f64, height: f64) -> String {
    format!(r#"<svg viewBox="0 0 {width} {height}" role="img" aria-label="{}">"#, escaped(name))
}

fn put(out: &mut String, element: &str) {
    let _infallible = writeln!(out, "{element}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_axis_ends_at_a_round_number_beyond_its_most() {
        let rows: [(f64, f64, usize); 6] =
            [(12.2, 12.5, 6), (9.9, 10.0, 6), (10.0, 10.0, 6), (493.0, 500.0, 6), (0.0, 1.0, 6), (f64::NAN, 1.0, 6)];
        for (most, end, ticks) in rows {
            let axis = Axis::linear("", most);
            assert!((axis.max - end).abs() < 1e-9, "to {most}: ends at {}", axis.max);
            assert_eq!(axis.ticks.len(), ticks, "to {most}: {:?}", axis.ticks);
            assert!(axis.ticks.len() <= 8, "to {most}: {:?}", axis.ticks);
        }
    }

    #[test]
    fn a_logarithmic_axis_holds_its_ends_and_not_too_many_ticks() {
        let rows =
            [(130.0, 9000.0, 100.0, 10_000.0), (1.0, 2.0, 1.0, 2.0), (20.0, 20.0, 20.0, 200.0), (0.0, 5.0, 1.0, 5.0)];
        for (least, most, begin, end) in rows {
            let axis = Axis::logarithmic("", least, most);
            assert!((axis.min - begin).abs() < 1e-6 && (axis.max - end).abs() < 1e-6, "{least} to {most}: {axis:?}");
        }
        let wide = Axis::logarithmic("", 3.0, 4_000_000.0);
        assert!((3..=9).contains(&wide.ticks.len()), "{:?}", wide.ticks);
    }

    #[test]
    fn numbers_lie_between_the_ends_of_their_axis() {
        let linear = Axis::linear("", 10.0);
        let logarithmic = Axis::logarithmic("", 1.0, 100.0);
        let rows = [
            (&linear, 5.0, 0.5),
            (&linear, 20.0, 1.0),
            (&linear, -1.0, 0.0),
            (&logarithmic, 10.0, 0.5),
            (&logarithmic, 0.0, 0.0),
        ];
        for (axis, number, expected) in rows {
            assert!((axis.place(number) - expected).abs() < 1e-9, "{number} lies at {}", axis.place(number));
        }
    }

    #[test]
    fn numbers_are_short() {
        let rows = [
            (0.0, "0"),
            (0.5, "0.5"),
            (7.254, "7.25"),
            (12.0, "12"),
            (1234.0, "1234"),
            (48_795.0, "48.8k"),
            (2.5e6, "2.5M"),
            (-3.0, "-3"),
        ];
        for (number, expected) in rows {
            assert_eq!(short(number), expected);
        }
    }

    #[test]
    fn names_cannot_break_out_of_the_markup() {
        let bar = Bar { class: "x", label: "<b>".to_owned(), value: 1.0, inner: None, min: 1.0, max: 1.0 };
        let drawn = bars("a \"b\"", "us", &[bar]);
        assert!(!drawn.contains("<b>") && drawn.contains("&lt;b&gt;") && drawn.contains("a &quot;b&quot;"), "{drawn}");
    }

    #[test]
    fn a_whisker_reaches_from_the_least_to_the_most() {
        let bar = Bar { class: "x", label: "x".to_owned(), value: 5.0, inner: Some(2.0), min: 4.0, max: 10.0 };
        let drawn = bars("x", "us", &[bar]);
        let at = |number: f64| NAMES + number / 10.0 * (BARS_WIDTH - NUMBERS - NAMES);
        assert!(drawn.contains(&format!("M{:.1} 16H{:.1}", at(4.0), at(10.0))), "{drawn}");
    }
}
