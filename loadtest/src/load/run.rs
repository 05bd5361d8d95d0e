//! The coordinator: from the first room to the merged result.

use super::clock::{SECOND_NS, now_ns, wall_clock};
use super::crew::Crew;
use super::merge::{Seconds, merge_done};
use super::metrics::{self, Sample};
use super::wire::{Control, DoneReport, Order, Report};
use super::{Scenario, Target, ahead, interrupt, plan, prepare};
use crate::process;
use crate::result::{FORMAT, RunResult, Second, Threshold};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

/// Between the word and the beginning of the warm-up.
const LEAD_NS: u64 = 200_000_000;
/// The part of a core above which a worker is said to have been busy.
const WORKER_BUSY: f64 = 0.8;
/// The part of all cores that other programs may use before it is said.
const OTHERS: f64 = 0.1;
/// What a worker may be late (p99) before it is said, µs.
const LATE_US: u64 = 2_000;

/// See [`super::run`].
pub(super) fn run(
    scenario: &Scenario,
    target: &Target,
    on_second: &mut dyn FnMut(&Second) -> ControlFlow<()>,
) -> Result<RunResult, String> {
    let started_at = wall_clock();
    ahead::reach(target)?;
    let fds = ahead::descriptors(scenario, target)?;
    let workers = plan::workers(scenario, fds, process::cores());
    let run = format!("{:06x}", (now_ns() / 1000) & 0xff_ffff);
    let rooms = prepare::rooms(scenario, target, &run)?;
    let orders: Vec<Order> =
        (0..workers).map(|worker| order(scenario, target, &run, worker, workers, &rooms)).collect();
    let (send, reports) = mpsc::channel();
    let mut crew = Crew::start(&orders, &send)?;
    let course = Course { scenario, target, reports, workers };
    course.wait_ready()?;
    let begin_ns = now_ns() + LEAD_NS;
    crew.tell_all(&Control::Begin { at_ns: begin_ns })?;
    let outcome = course.load(&mut crew, begin_ns, on_second)?;
    crew.tell_all(&Control::Verify)?;
    let done = course.wait_done()?;
    let mut result = RunResult {
        format: FORMAT,
        scenario: scenario.name.clone(),
        plan: serde_json::to_value(scenario).map_err(|error| error.to_string())?,
        started_at,
        target: target.addr.to_string(),
        workers: workers as u32,
        measured_s: outcome.measured_s,
        rooms: plan::room_count(scenario) as u64,
        ..RunResult::default()
    };
    merge_done(&mut result, &done)?;
    notes_of_workers(&mut result, &done);
    outcome.into_result(&mut result, scenario);
    if interrupt::asked() {
        let planned = scenario.duration.0.as_secs_f64();
        result.notes.push(format!("interrupted after {:.0} of {planned:.0} measured seconds", result.measured_s));
    }
    Ok(result)
}

fn order(scenario: &Scenario, target: &Target, run: &str, worker: usize, workers: usize, rooms: &[u64]) -> Order {
    let (addr, secret) = (target.addr, target.secret.clone());
    Order { scenario: scenario.clone(), addr, secret, run: run.to_owned(), worker, workers, rooms: rooms.to_vec() }
}

/// A run under way.
struct Course<'a> {
    scenario: &'a Scenario,
    target: &'a Target,
    reports: Receiver<(usize, Report)>,
    workers: usize,
}

impl Course<'_> {
    /// Until all have said so.
    fn wait_ready(&self) -> Result<(), String> {
        // Connecting has its own patience in the workers.
        for _ in 0..self.workers {
            match self.next_report(self.patience() * 4)? {
                (_, Report::Ready) => {}
                (worker, other) => return Err(format!("worker {worker}: {other:?} before the start")),
            }
        }
        Ok(())
    }

    fn wait_done(&self) -> Result<Vec<DoneReport>, String> {
        let mut done: Vec<Option<DoneReport>> = vec![None; self.workers];
        while done.iter().any(Option::is_none) {
            match self.next_report(self.patience() * 10)? {
                (worker, Report::Done(report)) => done[worker] = Some(*report),
                // Seconds of the comparison.
                (_, Report::Second(_)) => {}
                (worker, other) => return Err(format!("worker {worker}: {other:?} at the end")),
            }
        }
        Ok(done.into_iter().flatten().collect())
    }

    fn patience(&self) -> Duration {
        self.scenario.patience.0
    }

    fn next_report(&self, patience: Duration) -> Result<(usize, Report), String> {
        match self.reports.recv_timeout(patience) {
            Ok((worker, Report::Failed(reason))) => Err(format!("worker {worker}: {reason}")),
            Ok(report) => Ok(report),
            Err(_) => Err(format!("a worker has said nothing for {patience:?}")),
        }
    }

    /// From the warm-up until everybody is quiet.
    fn load(
        &self,
        crew: &mut Crew,
        begin_ns: u64,
        on_second: &mut dyn FnMut(&Second) -> ControlFlow<()>,
    ) -> Result<Outcome, String> {
        let over = Arc::new(AtomicBool::new(false));
        let (send, events) = mpsc::channel();
        let watcher = watch(self.target.clone(), self.borders(begin_ns), over.clone(), send);
        let outcome = self.listen(crew, begin_ns, &events, on_second);
        over.store(true, Ordering::Relaxed);
        watcher.join().expect("the watcher does not panic");
        outcome
    }

    /// Where the measured time begins and ends.
    fn borders(&self, begin_ns: u64) -> (u64, u64, u64) {
        let from = begin_ns + self.scenario.warmup.us() * 1000;
        (begin_ns, from, from + self.scenario.duration.us() * 1000)
    }

    fn listen(
        &self,
        crew: &mut Crew,
        begin_ns: u64,
        samples: &Receiver<Sample>,
        on_second: &mut dyn FnMut(&Second) -> ControlFlow<()>,
    ) -> Result<Outcome, String> {
        let borders = self.borders(begin_ns);
        let mut seconds = Seconds::new(self.workers, borders);
        let mut quiet = 0;
        let mut stopped = None;
        while quiet < self.workers {
            match self.next_report(self.patience() * 4)? {
                (_, Report::Quiet) => quiet += 1,
                (worker, Report::Second(second)) => seconds.add(worker, &second)?,
                (worker, other) => return Err(format!("worker {worker}: {other:?} under load")),
            }
            if self.target.pid.is_some_and(process::ended) {
                return Err("the server has ended in the midst of the run".into());
            }
            while let Ok(sample) = samples.try_recv() {
                seconds.sample(sample);
            }
            while let Some(second) = seconds.next_whole() {
                let over = on_second(second).is_break() || interrupt::asked();
                if over && stopped.is_none() {
                    stopped = Some(now_ns());
                    crew.tell_all(&Control::Stop)?;
                }
            }
        }
        let end = stopped.unwrap_or(borders.2).min(borders.2);
        let measured_s = end.saturating_sub(borders.1) as f64 / SECOND_NS as f64;
        let (series, samples) = seconds.finish();
        Ok(Outcome { series, samples, borders: (borders.1, end), measured_s })
    }
}

/// A thread that looks at the server at the end of each second, and at the borders of the measured time.
fn watch(
    target: Target,
    (begin, from, to): (u64, u64, u64),
    over: Arc<AtomicBool>,
    send: Sender<Sample>,
) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let mut next = begin;
        while !over.load(Ordering::Relaxed) {
            let now = now_ns();
            if now < next {
                // Short, so that the end of the run does not wait for the end of a second.
                thread::sleep(Duration::from_nanos((next - now).min(20_000_000)));
                continue;
            }
            if send.send(metrics::sample(&target)).is_err() {
                return;
            }
            let now = now_ns();
            let second = begin + (now.saturating_sub(begin) / SECOND_NS + 1) * SECOND_NS;
            next = [from, to, second].into_iter().filter(|at| *at > now).min().unwrap_or(second);
        }
    })
}

/// What the coordinator itself has seen.
struct Outcome {
    series: Vec<Second>,
    samples: Vec<Sample>,
    borders: (u64, u64),
    measured_s: f64,
}

impl Outcome {
    /// The usable looks at the server that are nearest to the borders of the measured time; none that tell of less than
    /// half of it.
    fn looks(&self, usable: fn(&Sample) -> bool) -> Option<(&Sample, &Sample)> {
        let nearest = |at: u64| {
            self.samples.iter().filter(|sample| usable(sample)).min_by_key(|sample| sample.at_ns.abs_diff(at))
        };
        let (from, to) = (nearest(self.borders.0)?, nearest(self.borders.1)?);
        let measured = self.borders.1.saturating_sub(self.borders.0);
        (to.at_ns > from.at_ns && to.at_ns - from.at_ns >= measured / 2).then_some((from, to))
    }

    fn into_result(self, result: &mut RunResult, scenario: &Scenario) {
        if let Some((from, to)) = self.looks(|sample| sample.failure.is_none()) {
            result.server = metrics::difference(from, to);
            result.shards = metrics::shards(to);
            result.shard_busy = metrics::shard_busy(from, to);
        }
        if let Some((from, to)) = self.looks(|sample| sample.values.contains_key(metrics::CPU)) {
            // The looks are not quite where the borders are.
            let part = result.measured_s * SECOND_NS as f64 / (to.at_ns - from.at_ns) as f64;
            let used = |of: fn(&Sample) -> Option<f64>| Some((of(to)? - of(from)?) * part);
            result.cpu.server_s = used(|sample| sample.values.get(metrics::CPU).copied());
            result.cpu.database_s = used(|sample| sample.database_s);
            let ours = [result.cpu.server_s, result.cpu.database_s, Some(result.cpu.generator_s)];
            let ours: f64 = ours.into_iter().flatten().sum();
            result.cpu.others_s = used(|sample| sample.machine_s).map(|all| (all - ours).max(0.0));
            note_of_others(result);
        }
        let failures: Vec<&String> = self.samples.iter().filter_map(|sample| sample.failure.as_ref()).collect();
        if let Some(last) = failures.last() {
            let (failed, all) = (failures.len(), self.samples.len());
            result.notes.push(format!("/metrics could not be read {failed} of {all} times, the last time: {last}"));
        }
        result.series = self.series;
        growth(result, scenario);
        closed(result, scenario);
    }
}

/// A machine that other programs use is slower than it seems.
fn note_of_others(result: &mut RunResult) {
    let Some(used) = result.cpu.others_s.map(|seconds| seconds / result.measured_s.max(1e-9)) else { return };
    let cores = process::cores() as f64;
    if used > cores * OTHERS {
        result.notes.push(format!(
            "other programs used {used:.1} of the {cores:.0} cores meanwhile: times are partly theirs, CPU is not"
        ));
    }
}

/// `memory_growth_max`, as a threshold of this run.
fn growth(result: &mut RunResult, scenario: &Scenario) {
    if scenario.memory_growth_max == 0.0 {
        return;
    }
    let memory: Vec<f64> =
        result.series.iter().filter(|s| s.measured).filter_map(|s| Some(s.server_rss_bytes? as f64)).collect();
    let tenth = memory.len().div_ceil(10);
    let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len() as f64;
    let value = (tenth > 0).then(|| mean(&memory[memory.len() - tenth..]) / mean(&memory[..tenth]));
    let held = value.is_some_and(|value| value <= scenario.memory_growth_max);
    let text = format!("memory growth <= {}", scenario.memory_growth_max);
    result.thresholds.push(Threshold { text, value, held });
}

/// `stall.must_close`, as a threshold of this run. A client that does not read may meet a reset in place of the code.
fn closed(result: &mut RunResult, scenario: &Scenario) {
    if !scenario.stall.must_close {
        return;
    }
    let seen = || ["3002", "reset"].iter().filter_map(|code| result.counts.closes.get(*code)).sum::<u64>() as f64;
    let value = result.server.get(metrics::SLOW).copied().unwrap_or_else(seen);
    let wanted = (scenario.users as f64 * scenario.stall.share).round();
    let text = format!("closed with 3002 >= {wanted}");
    result.thresholds.push(Threshold { text, value: Some(value), held: value >= wanted });
}

fn notes_of_workers(result: &mut RunResult, done: &[DoneReport]) {
    for (worker, report) in done.iter().enumerate() {
        let used = report.cpu_ns as f64 / 1e9 / result.measured_s.max(1e-9);
        if used > WORKER_BUSY {
            let percent = used * 100.0;
            result.notes.push(format!(
                "worker {worker} used {percent:.0} % of a core: the generator is a part of what was measured"
            ));
        }
    }
    if let Some(late) = result.latency.get(crate::result::latency::LATE).filter(|late| late.p99_us > LATE_US) {
        result.notes.push(format!("the generator itself was late: p99 {:.1} ms", late.p99_us as f64 / 1e3));
    }
}
