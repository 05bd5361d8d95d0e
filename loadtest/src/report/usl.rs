//! The Universal Scalability Law: what `n` shards do, of what one would do alone.
//!
//! `X(n) = λ·n / (1 + σ·(n − 1) + κ·n·(n − 1))`: λ is what one does alone, σ the part that only one can do at a time
//! (contention), κ what all have to agree on with each other (coherence), which makes more shards do less in the end.

use serde::Serialize;

/// Two sums of squares that differ by less are the same: the fit with fewer parameters is taken.
const SAME: f64 = 1e-12;

/// A fit. What the measured points cannot tell is `None`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fit {
    /// What one shard does alone.
    pub lambda: f64,
    /// Contention; needs two different counts of shards.
    pub sigma: Option<f64>,
    /// Coherence; needs three.
    pub kappa: Option<f64>,
    /// The greatest relative error at a measured point.
    pub error: f64,
    /// The count of shards beyond which more do less, and what so many do; where κ says that there is one.
    pub peak: Option<(f64, f64)>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

impl Fit {
    /// What so many shards do, as far as is known.
    pub fn at(&self, shards: f64) -> f64 {
        let (sigma, kappa) = (self.sigma.unwrap_or(0.0), self.kappa.unwrap_or(0.0));
        self.lambda * shards / (1.0 + sigma * (shards - 1.0) + kappa * shards * (shards - 1.0))
    }
}

/// Fits (shards, throughput) by least squares of the relative errors. With y = n/X the law is linear in
/// (1, n − 1, n·(n − 1)); no parameter may be negative, so all fits with parameters left out are held against each
/// other. `None` where there is no point to fit.
pub fn fit(points: &[(f64, f64)]) -> Option<Fit> {
    let points: Vec<(f64, f64)> =
        points.iter().copied().filter(|(n, x)| *n >= 1.0 && *x > 0.0 && n.is_finite() && x.is_finite()).collect();
    let mut counts: Vec<f64> = points.iter().map(|(n, _)| *n).collect();
    counts.sort_by(f64::total_cmp);
    counts.dedup();
    // The more is left out, the earlier it is tried.
    let candidates: &[&[usize]] = match counts.len() {
        0 => return None,
        1 => &[&[0]],
        2 => &[&[0], &[0, 1]],
        _ => &[&[0], &[0, 1], &[0, 2], &[0, 1, 2]],
    };
    let mut best: Option<(f64, [f64; 3])> = None;
    for terms in candidates {
        let Some(solution) = solve(&points, terms) else { continue };
        if solution[0] <= 0.0 || solution.iter().any(|parameter| *parameter < 0.0) {
            continue;
        }
        let sum: f64 = points.iter().map(|point| residual(point, &solution).powi(2)).sum();
        if best.is_none_or(|(least, _)| sum < least - SAME) {
            best = Some((sum, solution));
        }
    }
    let (_, [a, b, c]) = best?;
    let lambda = 1.0 / a;
    let mut fit = Fit {
        lambda,
        sigma: (counts.len() > 1).then_some(b * lambda),
        kappa: (counts.len() > 2).then_some(c * lambda),
        error: 0.0,
        peak: None,
        notes: Vec::new(),
    };
    fit.error = points.iter().map(|(n, x)| (fit.at(*n) / x - 1.0).abs()).fold(0.0, f64::max);
    fit.peak = peak(&fit);
    fit.notes = notes(&points, &counts, &fit);
    Some(fit)
}

/// 1, n − 1, n·(n − 1).
fn basis(n: f64) -> [f64; 3] {
    [1.0, n - 1.0, n * (n - 1.0)]
}

/// The relative error at a point.
fn residual((n, x): &(f64, f64), solution: &[f64; 3]) -> f64 {
    let y: f64 = basis(*n).iter().zip(solution).map(|(term, parameter)| term * parameter).sum();
    y * x / n - 1.0
}

/// Least squares over these terms; the other parameters are 0. `None` where the points cannot tell them apart.
fn solve(points: &[(f64, f64)], terms: &[usize]) -> Option<[f64; 3]> {
    let count = terms.len();
    let mut matrix = [[0.0; 4]; 3];
    // All of a size, so that the pivots can be judged.
    let scale = points.iter().map(|(n, x)| n / x).fold(0.0, f64::max);
    for (n, x) in points {
        let weight = x / n * scale;
        let row = basis(*n).map(|term| term * weight);
        for (i, of) in terms.iter().enumerate() {
            for (j, with) in terms.iter().enumerate() {
                matrix[i][j] += row[*of] * row[*with];
            }
            matrix[i][3] += row[*of];
        }
    }
    for column in 0..count {
        let pivot = (column..count).max_by(|a, b| matrix[*a][column].abs().total_cmp(&matrix[*b][column].abs()))?;
        if matrix[pivot][column].abs() < 1e-12 {
            return None;
        }
        matrix.swap(column, pivot);
        for row in 0..count {
            if row != column {
                let factor = matrix[row][column] / matrix[column][column];
                let pivot = matrix[column];
                matrix[row].iter_mut().zip(pivot).for_each(|(value, pivot)| *value -= factor * pivot);
            }
        }
    }
    let mut solution = [0.0; 3];
    for (at, term) in terms.iter().enumerate() {
        solution[*term] = matrix[at][3] / matrix[at][at] * scale;
    }
    Some(solution)
}

/// Where more shards begin to do less.
fn peak(fit: &Fit) -> Option<(f64, f64)> {
    let (sigma, kappa) = (fit.sigma?, fit.kappa?);
    if kappa <= 0.0 || sigma >= 1.0 {
        return None;
    }
    let shards = ((1.0 - sigma) / kappa).sqrt().max(1.0);
    Some((shards, fit.at(shards)))
}

fn notes(points: &[(f64, f64)], counts: &[f64], fit: &Fit) -> Vec<String> {
    let mut notes = Vec::new();
    match counts.len() {
        1 => notes.push(
            "One count of shards: nothing can be told of how the server scales; the line supposes that each shard adds as much as the first.".into(),
        ),
        2 => notes.push(
            "Two counts of shards: only contention is fitted. Whether more shards do less from some count on (coherence, κ) takes three or more."
                .into(),
        ),
        _ => {}
    }
    let per_shard = |count: f64| points.iter().filter(|(n, _)| *n == count).map(|(n, x)| x / n).fold(0.0, f64::max);
    if counts.windows(2).any(|pair| per_shard(pair[1]) > per_shard(pair[0]) * 1.02) {
        notes.push("More shards did more each than fewer did: noise, or something else than the shards was the limit; the law has no such case and the fit is 0 there.".into());
    }
    if fit.sigma.is_some_and(|sigma| sigma > 1.0) {
        notes.push("More shards did less than one alone: noise, or something that they all wait for; a contention above 100 % has no meaning.".into());
    }
    if counts.len() > 2 && fit.error > 0.1 {
        notes.push(format!("The fit misses a measured point by {:.0} %.", fit.error * 100.0));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn law(lambda: f64, sigma: f64, kappa: f64, shards: &[f64]) -> Vec<(f64, f64)> {
        let fit = Fit { lambda, sigma: Some(sigma), kappa: Some(kappa), error: 0.0, peak: None, notes: Vec::new() };
        shards.iter().map(|n| (*n, fit.at(*n))).collect()
    }

    fn near(a: f64, b: f64, within: f64) -> bool {
        (a - b).abs() <= within * b.abs().max(1e-3)
    }

    #[test]
    fn recovers_what_the_points_were_made_from() {
        let counts = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0];
        let cases = [
            (1_000.0, 0.0, 0.0),
            (1_000.0, 0.05, 0.0),
            (25_000.0, 0.0, 0.002),
            (35_000.0, 0.1, 0.003),
            (0.5, 0.6, 0.02),
            (1e9, 0.02, 1e-5),
        ];
        for (lambda, sigma, kappa) in cases {
            for shards in [&counts[..3], &counts[..]] {
                let fit = fit(&law(lambda, sigma, kappa, shards)).expect("points");
                let good = near(fit.lambda, lambda, 1e-6)
                    && near(fit.sigma.expect("known"), sigma, 1e-5)
                    && near(fit.kappa.expect("known"), kappa, 1e-5);
                assert!(good && fit.error < 1e-6 && fit.notes.is_empty(), "{lambda} {sigma} {kappa}: {fit:?}");
            }
        }
    }

    #[test]
    fn is_not_led_far_astray_by_noise() {
        let mut points = law(10_000.0, 0.05, 0.002, &[1.0, 2.0, 4.0, 8.0, 16.0]);
        for (at, point) in points.iter_mut().enumerate() {
            point.1 *= if at % 2 == 0 { 1.01 } else { 0.99 };
        }
        let fit = fit(&points).expect("points");
        assert!(near(fit.lambda, 10_000.0, 0.03) && near(fit.kappa.expect("known"), 0.002, 0.3), "{fit:?}");
        assert!(near(fit.sigma.expect("known"), 0.05, 0.3) && fit.error < 0.02, "{fit:?}");
    }

    #[test]
    fn finds_where_more_do_less() {
        let fit = fit(&law(1_000.0, 0.1, 0.01, &[1.0, 2.0, 4.0, 8.0])).expect("points");
        let (shards, most) = fit.peak.expect("a peak");
        assert!(near(shards, 90f64.sqrt(), 1e-4), "{shards}");
        assert!(most > fit.at(shards - 1.0) && most > fit.at(shards + 1.0));
        assert_eq!(super::fit(&law(1_000.0, 0.1, 0.0, &[1.0, 2.0, 4.0])).expect("points").peak, None);
    }

    #[test]
    fn says_what_cannot_be_told() {
        assert_eq!(fit(&[]), None);
        assert_eq!(fit(&[(1.0, 0.0), (0.0, 5.0), (2.0, f64::NAN), (2.0, -1.0)]), None);
        let one = fit(&[(2.0, 3_000.0), (2.0, 3_000.0)]).expect("a point");
        assert_eq!((one.lambda, one.sigma, one.kappa), (1_500.0, None, None));
        assert!(one.notes[0].contains("nothing can be told"));
        let two = fit(&law(1_000.0, 0.25, 0.0, &[1.0, 2.0])).expect("points");
        assert!(near(two.sigma.expect("known"), 0.25, 1e-6) && two.kappa.is_none(), "{two:?}");
        assert!(two.notes[0].contains("only contention is fitted"));
        // Coherence that two counts cannot show is taken for contention: both points are met all the same.
        let hidden = fit(&law(1_000.0, 0.1, 0.05, &[1.0, 2.0])).expect("points");
        assert!(hidden.error < 1e-9 && near(hidden.sigma.expect("known"), 0.2, 1e-6), "{hidden:?}");
    }

    #[test]
    fn less_than_one_alone_is_said() {
        let fit = fit(&[(1.0, 13.0), (2.0, 10.0)]).expect("points");
        assert!(fit.sigma.is_some_and(|sigma| sigma > 1.0), "{fit:?}");
        assert!(fit.notes.iter().any(|note| note.contains("has no meaning")), "{fit:?}");
    }

    #[test]
    fn more_than_linear_is_no_negative_contention() {
        for points in [vec![(1.0, 1_000.0), (2.0, 2_500.0)], vec![(1.0, 1_000.0), (2.0, 2_500.0), (4.0, 6_000.0)]] {
            let fit = fit(&points).expect("points");
            assert_eq!(fit.sigma, Some(0.0));
            assert!(fit.kappa.is_none_or(|kappa| kappa == 0.0) && fit.at(8.0) > 8_000.0, "{fit:?}");
            assert!(fit.notes.iter().any(|note| note.contains("did more each")), "{fit:?}");
        }
    }
}
