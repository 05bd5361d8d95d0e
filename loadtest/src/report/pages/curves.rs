//! Curves of a run, for one page or another.

use crate::report::format;
use crate::report::plot::{Axis, Look, Plot, Scale, Series};
use crate::result::{Latency, RunResult, Second};

/// Seconds of a run, across.
pub const SECONDS: Axis = Axis { label: "Seconds since the start", scale: Scale::ToEnd, words: format::number };
/// Times, upwards.
pub const TIME: Axis = Axis { label: "Latency", scale: Scale::Log, words: format::time };
const PERCENTILE: Axis = Axis { label: "Percentile", scale: Scale::Percentile, words: percent };

/// −log10(1 − quantile) as a percentile.
fn percent(nines: f64) -> String {
    let quantile = 1.0 - 10f64.powf(-nines);
    let decimals = (nines - 2.001).ceil().clamp(0.0, 9.0) as usize;
    format!("{:.decimals$} %", quantile * 100.0)
}

/// A line from (x, y).
pub fn series(name: &str, colour: u8, look: Look, points: Vec<(f64, f64)>) -> Series {
    Series { name: name.to_owned(), colour, look, points }
}

/// A value over the seconds of a run; seconds without one are gaps.
pub fn over_time(run: &RunResult, value: fn(&Second) -> Option<f64>) -> Vec<(f64, f64)> {
    run.series.iter().map(|second| (second.at_s, value(second).unwrap_or(f64::NAN))).collect()
}

/// A latency of one second; none where nothing was answered.
pub fn some_us(us: u64) -> Option<f64> {
    (us > 0).then_some(us as f64)
}

/// The stretches that do not count. A second stands at its end: it reaches back to the one before.
pub fn unmeasured(run: &RunResult) -> Vec<(f64, f64)> {
    let mut stretches: Vec<(f64, f64)> = Vec::new();
    let mut before = 0.0;
    for second in &run.series {
        match stretches.last_mut() {
            _ if second.measured => {}
            Some(last) if last.1 == before => last.1 = second.at_s,
            _ => stretches.push((before, second.at_s)),
        }
        before = second.at_s;
    }
    stretches
}

/// A distribution over percentiles, from its least value to its greatest.
///
/// # Errors
/// If the histogram cannot be read.
pub fn percentiles(of: &Latency) -> Result<Vec<(f64, f64)>, String> {
    const STEPS: u32 = 200;
    let histogram = of.decode()?;
    if histogram.is_empty() {
        return Ok(Vec::new());
    }
    // One value of all stands at 1 − 1/count: nothing is known beyond it.
    let end = (histogram.len() as f64).log10();
    let inner = (1..STEPS).map(|step| end * f64::from(step) / f64::from(STEPS));
    let mut points = vec![(0.0, histogram.min().max(1) as f64)];
    points.extend(inner.map(|nines| (nines, histogram.value_at_quantile(1.0 - 10f64.powf(-nines)).max(1) as f64)));
    points.push((end.max(0.01), histogram.max().max(1) as f64));
    Ok(points)
}

/// Latencies by percentile; one colour or look for each series.
pub fn percentile_plot(title: &str, series: Vec<Series>) -> Plot {
    Plot { title: title.into(), x: PERCENTILE, y: TIME, series, shaded: Vec::new(), rules: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::examples;

    #[test]
    fn percentiles_are_named_as_people_do() {
        for (nines, expected) in [
            (2f64.log10(), "50 %"),
            (1.0, "90 %"),
            (2.0, "99 %"),
            (3.0, "99.9 %"),
            (4.0, "99.99 %"),
            (6.0, "99.9999 %"),
        ] {
            assert_eq!(percent(nines), expected);
        }
    }

    #[test]
    fn a_distribution_is_drawn_from_its_least_to_its_greatest() {
        let points = percentiles(&examples::distribution(10_000, 1.0)).expect("a histogram");
        assert!(points.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{points:?}");
        let (first, last) = (points[0], points[points.len() - 1]);
        assert!(
            (first.0, last.0) == (0.0, 4.0) && (first.1 - 1_000.0).abs() < 2.0 && (last.1 - 30_000.0).abs() < 32.0,
            "{first:?} {last:?}"
        );
        let p99 = points.iter().filter(|(nines, _)| *nines <= 2.0).map(|(_, us)| *us).fold(0.0, f64::max);
        assert!((p99 - 9_000.0).abs() < 10.0, "{p99}");
        assert!(percentiles(&Latency { histogram: "nonsense".into(), ..Latency::default() }).is_err());
    }

    #[test]
    fn what_does_not_count_is_marked() {
        let mut run = examples::run();
        assert_eq!(unmeasured(&run), [(0.0, 2.0)]);
        run.series.iter_mut().for_each(|second| second.measured = (4.0..9.0).contains(&second.at_s));
        assert_eq!(unmeasured(&run), [(0.0, 3.0), (8.0, 12.0)]);
        run.series.clear();
        assert_eq!(unmeasured(&run), []);
    }
}
