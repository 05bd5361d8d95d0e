//! From values to places on an axis, and where its numbers stand.

/// How values become places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Even, from zero to a round number.
    FromZero,
    /// Even, from zero to the greatest value, where that ends.
    ToEnd,
    /// By powers of ten; what is not above zero has no place.
    Log,
    /// Values are −log10(1 − quantile): 1 is 90 %, 2 is 99 %, 3 is 99.9 %.
    Percentile,
}

/// A number on an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tick {
    /// Its place.
    pub at: f64,
    /// Its value.
    pub value: f64,
    /// One that a small screen leaves out.
    pub minor: bool,
}

/// A scale over certain values and a stretch of the drawing.
#[derive(Clone, Copy, Debug)]
pub struct Mapped {
    scale: Scale,
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    step: f64,
}

impl Scale {
    /// Whether this value has a place.
    pub fn takes(self, value: f64) -> bool {
        value.is_finite() && (self != Scale::Log || value > 0.0)
    }

    /// The axis that holds all these values.
    pub fn map(self, values: &[f64], from: f64, to: f64) -> Mapped {
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (low, high, step) = match self {
            Scale::FromZero if least >= 0.0 && most <= 0.0 => (0.0, 1.0, 1.0),
            Scale::FromZero => {
                let step = step(most.max(0.0) - least.min(0.0), 5.0);
                let high = (most.max(0.0) / step).ceil() * step;
                ((least.min(0.0) / step).floor() * step, high, step)
            }
            Scale::ToEnd if most > 0.0 => (least.min(0.0), most, step(most - least.min(0.0), 6.0)),
            Scale::ToEnd => (least.min(0.0), 1.0, 1.0),
            Scale::Log => {
                let (low, high) = (round_down(least), round_up(most));
                if low < high { (low, high, 0.0) } else { (low / 2.0, high * 2.0, 0.0) }
            }
            Scale::Percentile => (0.0, most.max(1.0), 1.0),
        };
        Mapped { scale: self, low, high, from, to, step }
    }
}

/// The step between round numbers, at most `parts` of which make the span.
fn step(span: f64, parts: f64) -> f64 {
    let raw = span / parts;
    let power = 10f64.powf(raw.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * power >= raw * 0.999_999).unwrap_or(10.0);
    factor * power
}

/// The next of 1, 2, 5, 10, ... at or below.
fn round_down(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    [5.0, 2.0, 1.0].into_iter().map(|factor| factor * power).find(|round| *round <= value * 1.000_001).unwrap_or(power)
}

/// The next of 1, 2, 5, 10, ... at or above.
fn round_up(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let rounds = [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power);
    rounds.into_iter().find(|round| *round >= value * 0.999_999).unwrap_or(power * 10.0)
}

impl Mapped {
    /// Whether this value has a place.
    pub fn takes(&self, value: f64) -> bool {
        self.scale.takes(value)
    }

    /// Where a value stands.
    pub fn at(&self, value: f64) -> f64 {
        let part = match self.scale {
            Scale::Log => (value / self.low).log10() / (self.high / self.low).log10(),
            Scale::FromZero | Scale::ToEnd | Scale::Percentile => (value - self.low) / (self.high - self.low),
        };
        self.from + part * (self.to - self.from)
    }

    /// The numbers of the axis.
    pub fn ticks(&self) -> Vec<Tick> {
        let tick = |value: f64, minor: bool| Tick { at: self.at(value), value, minor };
        match self.scale {
            Scale::FromZero | Scale::ToEnd => {
                let (first, last) = ((self.low / self.step - 1e-9).ceil(), (self.high / self.step + 1e-9).floor());
                let count = (last - first).clamp(0.0, 20.0) as u32;
                (0..=count).map(|n| tick((first + f64::from(n)) * self.step, n % 2 == 1)).collect()
            }
            Scale::Log => self.powers().into_iter().map(|(value, minor)| tick(value, minor)).collect(),
            Scale::Percentile => {
                let nines = self.high.clamp(0.0, 12.0).floor() as u32;
                let mut ticks = vec![tick(2f64.log10(), false)];
                ticks.extend((1..=nines).map(|nine| tick(f64::from(nine), nine > 3)));
                ticks
            }
        }
    }

    /// Powers of ten, with 2 and 5 between them where there are few.
    fn powers(&self) -> Vec<(f64, bool)> {
        let decades = (self.high / self.low).log10();
        let factors: &[f64] = if decades <= 1.5 {
            &[1.0, 2.0, 5.0]
        } else if decades <= 3.0 {
            &[1.0, 3.0]
        } else {
            &[1.0]
        };
        let (first, last) = (self.low.log10().floor() as i32, self.high.log10().ceil() as i32);
        let all = (first..=last)
            .flat_map(|power| factors.iter().map(move |factor| (factor * 10f64.powi(power), *factor > 1.0)));
        all.filter(|(value, _)| *value >= self.low * 0.999 && *value <= self.high * 1.001).collect()
    }
}
