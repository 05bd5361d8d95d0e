//! The search for the load at which an objective breaks: upwards in steps, then by halves.

use super::assert::{Assertion, value};
use super::resources::{Machine, ran_out};
use super::{format, usl};
use crate::result::{RunResult, Second, Threshold};
use serde::Serialize;
use std::fmt::Write as _;
use std::ops::ControlFlow;

/// The version of the search's JSON.
const FORMAT: u32 = 1;
/// Less than this part of the plan's commands sent is no load of that size.
const OFFERED_MIN: f64 = 0.98;

/// How to search.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What must hold.
    pub objective: Vec<Assertion>,
    /// The first load, as a factor of the scenario's.
    pub first: f64,
    /// From step to step, above 1.
    pub grow: f64,
    /// The limit is known when the least load that breaks is no more than this part above the greatest that holds.
    pub precision: f64,
    /// Runs, at most.
    pub steps_max: usize,
    /// Whether somebody wants the search to end; the run that was under way does not count then.
    pub stop: fn() -> bool,
}

/// A run at one load.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// Of the scenario's load.
    pub factor: f64,
    /// Whether the objective held.
    pub held: bool,
    /// What did not.
    pub broken: Vec<String>,
    /// Of the objective.
    pub objective: Vec<Threshold>,
    /// What was measured.
    pub run: RunResult,
}

/// The search with one server.
#[derive(Clone, Debug, Serialize)]
pub struct Sweep {
    /// Its shards; 0 where they are not known.
    pub shards: u32,
    /// By load.
    pub steps: Vec<Step>,
    /// What ran out first, in a sentence; empty where nothing broke.
    pub ran_out: String,
}

/// A whole search.
#[derive(Clone, Debug, Serialize)]
pub struct Limits {
    /// Of this JSON.
    pub format: u32,
    /// The scenario's name.
    pub scenario: String,
    /// What was to hold.
    pub objective: Vec<String>,
    /// Where it ran.
    pub machine: Machine,
    /// One for each count of shards.
    pub sweeps: Vec<Sweep>,
    /// Over the counts of shards, where a limit was found for one.
    pub usl: Option<usl::Fit>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

impl Step {
    fn of(factor: f64, run: RunResult, objective: &[Assertion]) -> Step {
        let objective: Vec<Threshold> = objective.iter().map(|assertion| assertion.judge(&run)).collect();
        let mut broken: Vec<String> = objective.iter().filter(|one| !one.held).map(|one| one.text.clone()).collect();
        if run.violations.count > 0 {
            broken.push("a guarantee".into());
        }
        if run.checked_events == 0 {
            broken.push("nothing was checked".into());
        }
        if (run.counts.sent as f64) < run.counts.offered as f64 * OFFERED_MIN {
            broken.push("the generator did not send the load".into());
        }
        Step { factor, held: broken.is_empty(), broken, objective, run }
    }

    /// Commands a second that the plan wanted.
    pub fn offered(&self) -> f64 {
        value(&self.run, "offered_per_s").unwrap_or(0.0)
    }
}

impl Sweep {
    /// The greatest load that held, below the least that broke.
    pub fn knee(&self) -> Option<&Step> {
        self.steps.iter().take_while(|step| step.held).last()
    }

    /// The least load that broke the objective.
    pub fn broken(&self) -> Option<&Step> {
        self.steps.iter().find(|step| !step.held)
    }
}

/// Raises the load until the objective breaks, then closes in on the limit. `run` makes a run at a factor.
///
/// # Errors
/// Those of `run`.
pub fn search(
    plan: &Plan,
    machine: &Machine,
    run: &mut dyn FnMut(f64) -> Result<RunResult, String>,
) -> Result<Sweep, String> {
    let mut steps: Vec<Step> = Vec::new();
    let (mut low, mut high) = (None::<f64>, None::<f64>);
    while steps.len() < plan.steps_max {
        let factor = match (low, high) {
            (None, None) => plan.first,
            (Some(low), None) => low * plan.grow,
            (None, Some(high)) => high / plan.grow,
            (Some(low), Some(high)) if high / low > 1.0 + plan.precision => (low * high).sqrt(),
            (Some(_), Some(_)) => break,
        };
        let result = run(factor)?;
        if (plan.stop)() {
            break;
        }
        let step = Step::of(factor, result, &plan.objective);
        let bound = if step.held { &mut low } else { &mut high };
        *bound = Some(factor);
        steps.push(step);
    }
    steps.sort_by(|a, b| a.factor.total_cmp(&b.factor));
    let shards = steps.last().map_or(0, |step| step.run.shards);
    let mut sweep = Sweep { shards, steps, ran_out: String::new() };
    sweep.ran_out = sweep.broken().map(|step| ran_out(&step.run, machine)).unwrap_or_default();
    Ok(sweep)
}

/// Ends a run before its time where it has broken the objective for good: on the first error, if none may be.
pub fn watch(objective: &[Assertion], second: &Second) -> ControlFlow<()> {
    let broken = second.measured && second.errors > 0 && objective.iter().any(Assertion::forbids_errors);
    if broken { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

impl Limits {
    /// Puts searches together.
    pub fn of(scenario: &str, objective: &[Assertion], machine: Machine, sweeps: Vec<Sweep>) -> Limits {
        let mut limits = Limits {
            format: FORMAT,
            scenario: scenario.to_owned(),
            objective: objective.iter().map(ToString::to_string).collect(),
            machine,
            sweeps,
            usl: None,
            notes: Vec::new(),
        };
        limits.usl = usl::fit(&limits.capacities());
        let generator = limits.sweeps.iter().any(|sweep| sweep.ran_out.contains("load generator ("));
        if generator {
            limits.notes.push("The load generator was at its end: the server's limit lies higher than the figures say. More workers (--set workers=N) or another machine for the load would tell.".into());
        }
        for (sweep, step) in limits.sweeps.iter().filter_map(|sweep| Some((sweep, sweep.broken()?))) {
            let told =
                |note: &String| format!("{} shards, ×{:.2}, the least that broke: {note}", sweep.shards, step.factor);
            limits.notes.extend(step.run.notes.iter().map(told));
        }
        if limits.sweeps.iter().any(|sweep| sweep.broken().is_none()) {
            limits.notes.push("The objective never broke within the steps allowed (--steps, --first): the limit lies beyond the greatest load.".into());
        }
        if limits.sweeps.iter().any(|sweep| sweep.knee().is_none()) {
            limits.notes.push(
                "The objective broke even under the least load: there is no limit to report. --first begins lower."
                    .into(),
            );
        }
        if limits.sweeps.len() > 1 && limits.sweeps.iter().any(|sweep| f64::from(sweep.shards) >= machine.cores) {
            limits.notes.push(format!(
                "Server, database and load shared {} cores: with as many shards, these took from each other what the law takes for contention.",
                format::number(machine.cores)
            ));
        }
        limits
    }

    /// What the objective allows for ack p99, µs, where it says so.
    pub fn ack_p99_bound_us(&self) -> Option<f64> {
        let bounds = self.objective.iter().filter_map(|text| text.parse::<Assertion>().ok()?.bound_of("ack.p99"));
        bounds.reduce(f64::min)
    }

    /// (shards, acknowledged commands a second at the knee).
    pub fn capacities(&self) -> Vec<(f64, f64)> {
        let knee = |sweep: &Sweep| {
            let shards = f64::from(sweep.shards.max(1));
            sweep.knee().and_then(|step| Some((shards, value(&step.run, "acknowledged_per_s")?)))
        };
        self.sweeps.iter().filter_map(knee).collect()
    }

    /// Whether every sweep has found a knee: a load that holds and one that breaks.
    pub fn found(&self) -> bool {
        !self.sweeps.is_empty() && self.sweeps.iter().all(|sweep| sweep.knee().is_some() && sweep.broken().is_some())
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for sweep in &self.sweeps {
            let _ = writeln!(
                text,
                "{} ({}), {}:",
                self.scenario,
                self.objective.join(", "),
                format::counted(sweep.shards.into(), "shard", "shards")
            );
            sweep.steps.iter().for_each(|step| text += &format!("  {}\n", step.line()));
            let _ = writeln!(text, "  {}", sweep.verdict());
        }
        if let Some(fit) = &self.usl {
            let _ = writeln!(text, "scaling: {}", fit.words());
        }
        for note in self.usl.iter().flat_map(|fit| &fit.notes).chain(&self.notes) {
            let _ = writeln!(text, "note: {note}");
        }
        text
    }
}

impl Step {
    fn line(&self) -> String {
        let time = |name| value(&self.run, name).map_or_else(|| "–".into(), format::time);
        let rate = |name| value(&self.run, name).map_or_else(|| "–".into(), format::number);
        format!(
            "×{:.2}: {} sends/s offered, {} acks/s, {} deliveries/s, ack p50 {}, p99 {}: {}",
            self.factor,
            format::number(self.offered()),
            rate("acknowledged_per_s"),
            rate("deliveries_per_s"),
            time("ack.p50"),
            time("ack.p99"),
            if self.held { "held".to_owned() } else { format!("broke {}", self.broken.join(", ")) }
        )
    }
}

impl Sweep {
    /// The finding in a sentence.
    pub fn verdict(&self) -> String {
        let rate = |step: &Step| format::number(value(&step.run, "acknowledged_per_s").unwrap_or(0.0));
        match (self.knee(), self.broken()) {
            (Some(knee), Some(broken)) => format!(
                "the knee is at {} acks/s (×{:.2} of the scenario); at ×{:.2} what ran out first: {}",
                rate(knee),
                knee.factor,
                broken.factor,
                self.ran_out
            ),
            (Some(knee), None) => format!("no limit up to {} acks/s (×{:.2} of the scenario)", rate(knee), knee.factor),
            (None, Some(broken)) => format!(
                "broken from the least load on (×{:.2} of the scenario): {}",
                broken.factor,
                broken.broken.join(", ")
            ),
            (None, None) => "no run was made".into(),
        }
    }
}

impl usl::Fit {
    /// The fit in a sentence.
    pub fn words(&self) -> String {
        let percent =
            |of: Option<f64>| of.map_or_else(|| "not known".into(), |of| format!("{} %", format::number(of * 100.0)));
        let mut text = format!(
            "one shard alone {} acks/s, contention σ {}, coherence κ {}",
            format::number(self.lambda),
            percent(self.sigma),
            percent(self.kappa)
        );
        if let Some((shards, most)) = self.peak {
            text +=
                &format!("; the most would be {} acks/s with {} shards", format::number(most), format::number(shards));
        }
        text
    }
}

#[cfg(test)]
pub(super) mod tests;
