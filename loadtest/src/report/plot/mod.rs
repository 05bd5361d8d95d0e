//! Plots as SVG text: lines over an axis in seconds, load or percentiles. They say in words what they show, so that
//! they can be read without eyes; colours are classes, so that the page decides what they are in light and dark.

mod scale;

pub use scale::Scale;

use super::html::escape;
use scale::{Mapped, Tick};
use std::fmt::Write as _;

/// Size of the drawing, in its own units; the page stretches it.
const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 290.0;
/// The width of a digit, about.
const DIGIT: f64 = 7.0;
const LEFT: f64 = 74.0;
const RIGHT: f64 = 22.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 50.0;
/// More points than this of one series are thinned, with every extreme kept.
const POINTS_MAX: usize = 1_000;

/// One axis.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    /// What it is, with its unit where the numbers do not carry it.
    pub label: &'static str,
    /// How values become places.
    pub scale: Scale,
    /// A value in words.
    pub words: fn(f64) -> String,
}

/// How a series looks. Colour is never all that tells two apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// A line.
    Solid,
    /// A broken line.
    Dashed,
    /// A line with a disc at each point.
    Dots,
    /// Crosses without a line.
    Crosses,
}

/// Points that belong together.
#[derive(Clone, Debug)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Of the page's colours, 1 to 4; 0 is what only gives measure.
    pub colour: u8,
    /// How it looks.
    pub look: Look,
    /// In the order of x; a y that is no number leaves a gap.
    pub points: Vec<(f64, f64)>,
}

/// A line across, at one value.
#[derive(Clone, Debug)]
pub enum Rule {
    /// Upright, at an x.
    X(f64, String),
    /// Level, at a y.
    Y(f64, String),
}

/// A figure.
#[derive(Clone, Debug)]
pub struct Plot {
    /// Its caption.
    pub title: String,
    /// Across.
    pub x: Axis,
    /// Upwards.
    pub y: Axis,
    /// What is drawn.
    pub series: Vec<Series>,
    /// Stretches of x that do not count.
    pub shaded: Vec<(f64, f64)>,
    /// Lines across.
    pub rules: Vec<Rule>,
}

impl Plot {
    /// The figure, or a sentence where there is nothing to draw. `id` is unique in its page.
    pub fn figure(&self, id: &str) -> String {
        let title = escape(&self.title);
        let Some((x, y)) = self.mapped() else {
            return format!(
                "<figure class=\"plot\"><figcaption>{title}</figcaption><p class=\"none\">No values.</p></figure>"
            );
        };
        let mut svg = String::new();
        let _ = write!(
            svg,
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\">\
             <title id=\"{id}-t\">{title}</title><desc id=\"{id}-d\">{}</desc>",
            escape(&self.words())
        );
        self.background(&x, &mut svg);
        self.axes(&x, &y, &mut svg);
        self.rules(&x, &y, &mut svg);
        self.series.iter().for_each(|series| draw(series, &x, &y, &mut svg));
        svg.push_str("</svg>");
        format!("<figure class=\"plot\"><figcaption>{title}{}</figcaption>{svg}</figure>", self.legend())
    }

    /// The axes over all that is drawn; none where nothing is.
    fn mapped(&self) -> Option<(Mapped, Mapped)> {
        let points = || {
            self.series
                .iter()
                .flat_map(|series| &series.points)
                .filter(|(x, y)| x.is_finite() && self.y.scale.takes(*y))
        };
        let mut xs: Vec<f64> = points().map(|(x, _)| *x).collect();
        let mut ys: Vec<f64> = points().map(|(_, y)| *y).collect();
        if xs.is_empty() {
            return None;
        }
        for rule in &self.rules {
            match rule {
                Rule::X(at, _) if at.is_finite() => xs.push(*at),
                Rule::Y(at, _) if self.y.scale.takes(*at) => ys.push(*at),
                Rule::X(..) | Rule::Y(..) => {}
            }
        }
        let x = self.x.scale.map(&xs, LEFT, WIDTH - RIGHT);
        let y = self.y.scale.map(&ys, HEIGHT - BOTTOM, TOP);
        Some((x, y))
    }

    fn background(&self, x: &Mapped, svg: &mut String) {
        let (height, right) = (HEIGHT - BOTTOM - TOP, WIDTH - RIGHT);
        for (from, to) in &self.shaded {
            let (from, to) = (x.at(*from).clamp(LEFT, right), x.at(*to).clamp(LEFT, right));
            let _ = write!(
                svg,
                "<rect class=\"shade\" x=\"{from:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{height}\"/>",
                to - from
            );
        }
    }

    fn axes(&self, x: &Mapped, y: &Mapped, svg: &mut String) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for Tick { at, value, minor } in y.ticks() {
            let _ = write!(svg, "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{right}\"/>");
            let class = if minor { " class=\"minor\"" } else { "" };
            let _ = write!(
                svg,
                "<text{class} x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 8.0,
                at + 4.0,
                escape(&(self.y.words)(value))
            );
        }
        for Tick { at, value, minor } in x.ticks() {
            let _ = write!(svg, "<path class=\"grid\" d=\"M{at:.1} {TOP}V{bottom}\"/>");
            let class = if minor { " class=\"minor\"" } else { "" };
            let words = escape(&(self.x.words)(value));
            // A number that would reach beyond the drawing ends where that does.
            let wide = at + words.chars().count() as f64 * DIGIT / 2.0 > WIDTH - 2.0;
            let (anchor, place) = if wide { ("end", WIDTH - 2.0) } else { ("middle", at) };
            let _ = write!(
                svg,
                "<text{class} x=\"{place:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{words}</text>",
                bottom + 18.0
            );
        }
        let _ = write!(svg, "<path class=\"axis\" d=\"M{LEFT} {TOP}V{bottom}H{right}\"/>");
        let _ = write!(
            svg,
            "<text class=\"label\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
             <text class=\"label upright\" transform=\"translate(13 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            (LEFT + right) / 2.0,
            HEIGHT - 8.0,
            escape(self.x.label),
            (TOP + bottom) / 2.0,
            escape(self.y.label)
        );
    }

    fn rules(&self, x: &Mapped, y: &Mapped, svg: &mut String) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        // One below the other, since upright lines may stand close together.
        let mut row = TOP + 12.0;
        for rule in &self.rules {
            match rule {
                Rule::X(at, label) if at.is_finite() => {
                    let at = x.at(*at);
                    // On the side that has room for the words.
                    let (anchor, words) = if at > WIDTH / 2.0 { ("end", at - 6.0) } else { ("start", at + 6.0) };
                    let label = escape(label);
                    let _ = write!(svg, "<path class=\"rule\" d=\"M{at:.1} {TOP}V{bottom}\"/>");
                    let _ = write!(
                        svg,
                        "<text class=\"ruled\" x=\"{words:.1}\" y=\"{row}\" text-anchor=\"{anchor}\">{label}</text>"
                    );
                    row += 16.0;
                }
                Rule::Y(at, label) if self.y.scale.takes(*at) => {
                    let at = y.at(*at);
                    let above = if at > TOP + 20.0 { at - 5.0 } else { at + 14.0 };
                    let (words, label) = (right - 6.0, escape(label));
                    let _ = write!(svg, "<path class=\"rule\" d=\"M{LEFT} {at:.1}H{right}\"/>");
                    let _ = write!(
                        svg,
                        "<text class=\"ruled\" x=\"{words}\" y=\"{above:.1}\" text-anchor=\"end\">{label}</text>"
                    );
                }
                Rule::X(..) | Rule::Y(..) => {}
            }
        }
    }

    fn legend(&self) -> String {
        let mut text = String::from("<span class=\"legend\">");
        for series in self.series.iter().filter(|series| series.points.iter().any(|(_, y)| self.y.scale.takes(*y))) {
            let class = classes(series);
            let sample = match series.look {
                Look::Crosses => format!("<path class=\"{class}\" d=\"M8 1l8 8M16 1l-8 8\"/>"),
                Look::Dots => format!(
                    "<path class=\"{class}\" d=\"M1 5H23\"/><circle class=\"f{}\" cx=\"12\" cy=\"5\" r=\"3.5\"/>",
                    series.colour
                ),
                Look::Solid | Look::Dashed => format!("<path class=\"{class}\" d=\"M1 5H23\"/>"),
            };
            let _ = write!(
                text,
                "<span><svg class=\"key\" viewBox=\"0 0 24 10\" aria-hidden=\"true\">{sample}</svg>{}</span>",
                escape(&series.name)
            );
        }
        if !self.shaded.is_empty() {
            text.push_str("<span><svg class=\"key\" viewBox=\"0 0 24 10\" aria-hidden=\"true\"><rect class=\"shade\" width=\"24\" height=\"10\"/></svg>not measured</span>");
        }
        text + "</span>"
    }

    /// What the figure shows, for those who cannot see it.
    fn words(&self) -> String {
        let mut text = format!("{} over {}.", self.y.label, self.x.label);
        for series in &self.series {
            let values: Vec<f64> = series.points.iter().map(|(_, y)| *y).filter(|y| self.y.scale.takes(*y)).collect();
            let Some(last) = values.last() else { continue };
            let least = values.iter().copied().fold(f64::INFINITY, f64::min);
            let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let words = self.y.words;
            let _ = write!(
                text,
                " {}: from {} to {}, at the end {}.",
                series.name,
                words(least),
                words(most),
                words(*last)
            );
        }
        for rule in &self.rules {
            let (Rule::X(_, label) | Rule::Y(_, label)) = rule;
            let _ = write!(text, " Line: {label}.");
        }
        text
    }
}

fn classes(series: &Series) -> String {
    let dashed = if series.look == Look::Dashed { " dash" } else { "" };
    format!("l c{}{dashed}", series.colour)
}

fn draw(series: &Series, x: &Mapped, y: &Mapped, svg: &mut String) {
    let (mut path, mut discs, mut gap) = (String::new(), String::new(), true);
    for (px, py) in thinned(&series.points, POINTS_MAX) {
        if !px.is_finite() || !y.takes(py) {
            gap = true;
            continue;
        }
        let (px, py) = (x.at(px), y.at(py));
        match series.look {
            Look::Crosses => {
                let _ = write!(path, "M{:.1} {:.1}l10 10m0 -10l-10 10", px - 5.0, py - 5.0);
            }
            // A lone point has no line; a step to itself leaves a dot there.
            _ if gap => drop(write!(path, "M{px:.1} {py:.1}l0 0")),
            _ => drop(write!(path, "L{px:.1} {py:.1}")),
        }
        if series.look == Look::Dots {
            let _ = write!(discs, "<circle class=\"f{}\" cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"4\"/>", series.colour);
        }
        gap = false;
    }
    let _ = write!(svg, "<path class=\"{}\" d=\"{path}\"/>{discs}", classes(series));
}

/// At most about `max` points, of each stretch the first, the least, the greatest and the last.
fn thinned(points: &[(f64, f64)], max: usize) -> Vec<(f64, f64)> {
    if points.len() <= max {
        return points.to_vec();
    }
    let mut kept = Vec::with_capacity(max + 4);
    for stretch in points.chunks(points.len().div_ceil(max / 4)) {
        let by = |a: &usize, b: &usize| stretch[*a].1.total_cmp(&stretch[*b].1);
        let numbers = || (0..stretch.len()).filter(|at| stretch[*at].1.is_finite());
        let gap = (0..stretch.len()).find(|at| !stretch[*at].1.is_finite());
        let mut picked: Vec<usize> =
            [Some(0), numbers().min_by(by), numbers().max_by(by), gap, Some(stretch.len() - 1)]
                .into_iter()
                .flatten()
                .collect();
        picked.sort_unstable();
        picked.dedup();
        kept.extend(picked.into_iter().map(|at| stretch[at]));
    }
    kept
}

#[cfg(test)]
mod tests;
