//! Least squares with priors and without negative results, small and stable.
//!
//! Unknown costs `b` of some features are wanted such that `sum over features (count * b) = CPU` for each observation.
//! What a server counts goes up and down together (twice the messages are twice the writes), so the observations alone
//! often cannot tell the costs apart. Each cost therefore has a prior, and is pulled to it as strongly as the prior is
//! sure. Where the data say nothing, the prior stays; where they say only something about a sum, the sum is met and
//! shared out as the priors would.

/// What a cost is before anything was observed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prior {
    /// Microseconds per unit.
    pub value: f64,
    /// The standard deviation of the truth around it, as a fraction of it.
    pub spread: f64,
}

/// One equation: what was counted, and what it cost.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation<const N: usize> {
    /// How much of each feature.
    pub counts: [f64; N],
    /// Microseconds, all features together.
    pub cost: f64,
    /// The standard deviation of the cost, µs.
    pub error: f64,
}

/// Rounds of coordinate descent, at most.
const ROUNDS_MAX: usize = 2_000;
/// A round that changes no cost by more than this fraction of its prior is the last.
const SETTLED: f64 = 1e-7;

/// The costs that explain the observations best, given the priors: none is negative, all are finite.
///
/// Coordinate descent on the normal equations in units of the priors: strictly convex because of the pull to the priors,
/// so it converges whatever the observations are.
pub fn fit<const N: usize>(priors: &[Prior; N], observations: &[Observation<N>]) -> [f64; N] {
    // In units of the prior, b = prior * x: minimise x'Ax - 2 c'x, with the pull (x - 1)^2 / spread^2 in it.
    let (mut a, mut c) = ([[0.0; N]; N], [0.0; N]);
    for (index, prior) in priors.iter().enumerate() {
        let pull = 1.0 / (prior.spread * prior.spread).max(1e-12);
        a[index][index] = pull;
        c[index] = pull;
    }
    for observation in observations {
        let usable = observation.counts.iter().all(|count| count.is_finite()) && observation.cost.is_finite();
        if !usable || observation.error.is_nan() || observation.error <= 0.0 {
            continue;
        }
        let row: [f64; N] =
            std::array::from_fn(|index| observation.counts[index] * priors[index].value / observation.error);
        let cost = observation.cost / observation.error;
        for (i, of_i) in row.iter().enumerate() {
            c[i] += of_i * cost;
            for (j, of_j) in row.iter().enumerate() {
                a[i][j] += of_i * of_j;
            }
        }
    }
    let mut x = [1.0; N];
    for _ in 0..ROUNDS_MAX {
        let mut moved = 0.0_f64;
        for i in 0..N {
            let others: f64 = (0..N).filter(|j| *j != i).map(|j| a[i][j] * x[j]).sum();
            let next = ((c[i] - others) / a[i][i]).max(0.0);
            moved = moved.max((next - x[i]).abs());
            x[i] = next;
        }
        if moved < SETTLED {
            break;
        }
    }
    std::array::from_fn(|index| priors[index].value * x[index])
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRIORS: [Prior; 3] =
        [Prior { value: 10.0, spread: 0.7 }, Prior { value: 3.0, spread: 0.7 }, Prior { value: 20.0, spread: 0.7 }];

    fn observe(counts: [f64; 3], truth: [f64; 3]) -> Observation<3> {
        let cost = counts.iter().zip(truth).map(|(count, cost)| count * cost).sum();
        Observation { counts, cost, error: (0.02 * cost).max(1.0) }
    }

    #[test]
    fn known_costs_are_found_again() {
        let truth = [16.0, 2.0, 14.0];
        // Different mixtures: many small rooms, few big ones, idle.
        let mixtures =
            [[1e5, 1e5, 1e4], [2e5, 9e5, 2e4], [5e4, 1e6, 1e3], [3e5, 3e5, 3e4], [1e5, 2e4, 5e4], [1e3, 50.0, 10.0]];
        let observations: Vec<_> = mixtures.into_iter().cycle().take(60).map(|counts| observe(counts, truth)).collect();
        for (found, truth) in fit(&PRIORS, &observations).into_iter().zip(truth) {
            assert!((found / truth - 1.0).abs() < 0.02, "{found} instead of {truth}");
        }
    }

    #[test]
    fn what_goes_together_keeps_its_sum_and_the_proportion_of_the_priors() {
        // One mixture only, seen a hundred times, twice as dear as the priors say.
        let counts = [1e5, 1e6, 1e4];
        let truth = PRIORS.map(|prior| 2.0 * prior.value);
        let observations = vec![observe(counts, truth); 100];
        let found = fit(&PRIORS, &observations);
        let cost: f64 = found.iter().zip(counts).map(|(cost, count)| cost * count).sum();
        assert!((cost / observations[0].cost - 1.0).abs() < 0.01, "{found:?}");
        assert!(found.iter().all(|cost| cost.is_finite() && *cost > 0.0), "{found:?}");
        // Most of what is too much is put where most of the cost is.
        assert!(found[1] / PRIORS[1].value > found[2] / PRIORS[2].value, "{found:?}");
    }

    #[test]
    fn nothing_seen_leaves_the_priors_and_nonsense_is_left_out() {
        let priors = PRIORS.map(|prior| prior.value);
        let nan = Observation { counts: [f64::NAN, 1.0, 1.0], cost: 1.0, error: 1.0 };
        let infinite = Observation { counts: [1.0; 3], cost: f64::INFINITY, error: 1.0 };
        let certain = Observation { counts: [1.0; 3], cost: 1.0, error: 0.0 };
        let empty = Observation { counts: [0.0; 3], cost: 0.0, error: 1.0 };
        for observations in [vec![], vec![nan, infinite, certain], vec![empty; 1000]] {
            for (found, prior) in fit(&PRIORS, &observations).into_iter().zip(priors) {
                assert!((found - prior).abs() < 1e-6, "{found} instead of {prior}");
            }
        }
    }

    #[test]
    fn no_cost_is_negative() {
        // The second feature would have to give time back.
        let observations = vec![
            observe([1e5, 0.0, 0.0], [10.0, 0.0, 0.0]),
            Observation { counts: [1e5, 1e5, 0.0], cost: 1.0, error: 10.0 },
        ];
        assert!(fit(&PRIORS, &observations).iter().all(|cost| *cost >= 0.0 && cost.is_finite()));
    }
}
