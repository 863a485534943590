//! Random numbers that are the same on every machine and in every version.

/// Xoshiro256++ by Blackman and Vigna, seeded by `SplitMix64`.
#[derive(Clone, Debug)]
pub(crate) struct Random([u64; 4]);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        let mut state = seed;
        Self(std::array::from_fn(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        }))
    }

    fn next(&mut self) -> u64 {
        let s = &mut self.0;
        let drawn = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let shifted = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= shifted;
        s[3] = s[3].rotate_left(45);
        drawn
    }

    /// Between 0 and 1, neither included.
    pub(crate) fn unit(&mut self) -> f64 {
        ((self.next() >> 12) as f64 + 0.5) / (1u64 << 52) as f64
    }

    pub(crate) fn is(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((self.unit() * bound as f64) as usize).min(bound.saturating_sub(1))
    }

    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * self.unit().ln()
    }

    pub(crate) fn log_normal(&mut self, median: f64, sigma: f64) -> f64 {
        let (radius, angle) = (self.unit(), self.unit());
        let normal = (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos();
        median * (sigma * normal).exp()
    }
}

/// How many endpoints an event has: a Pareto distribution of whole numbers from 1 to `max`, the rest cut off.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Widths {
    pub(crate) exponent: f64,
    pub(crate) max: u32,
}

impl Widths {
    pub(crate) fn draw(self, random: &mut Random) -> u32 {
        let least = f64::from(self.max + 1).powf(-self.exponent);
        let share = least + random.unit() * (1.0 - least);
        (share.powf(-1.0 / self.exponent) as u32).clamp(1, self.max)
    }

    /// The mean, by adding up how often each width is reached.
    pub(crate) fn mean(self) -> f64 {
        let least = f64::from(self.max + 1).powf(-self.exponent);
        (1..=self.max)
            .map(|width| (f64::from(width).powf(-self.exponent) - least) / (1.0 - least))
            .sum()
    }
}

/// The exponent `p` for which `((1 + cos) / 2)^p` over a day has a peak of so many times its mean.
fn curve_exponent(peak_over_mean: f64) -> f64 {
    let (mut low, mut high) = (0.0, 200.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if 1.0 / curve_mean(middle) < peak_over_mean {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

fn curve_mean(exponent: f64) -> f64 {
    const STEPS: u32 = 2_000;
    let sum: f64 = (0..STEPS)
        .map(|step| height(f64::from(step) / f64::from(STEPS), exponent))
        .sum();
    sum / f64::from(STEPS)
}

fn height(day: f64, exponent: f64) -> f64 {
    f64::midpoint(1.0, (std::f64::consts::TAU * day).cos()).powf(exponent)
}

/// A day's rate by its time, one at the mean: highest at the beginning of the day that is simulated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Curve {
    exponent: f64,
    mean: f64,
}

impl Curve {
    pub(crate) fn new(peak_over_mean: f64) -> Self {
        let exponent = curve_exponent(peak_over_mean.max(1.0));
        Self {
            exponent,
            mean: curve_mean(exponent),
        }
    }

    pub(crate) fn at(self, seconds: f64) -> f64 {
        height(seconds / 86_400.0, self.exponent) / self.mean
    }
}

/// The share of the fullest of so many cells, when workspaces of Zipf sizes are put one after the other, the largest
/// first, where there is most room.
pub(crate) fn fullest_cell(workspaces: u32, exponent: f64, cells: usize) -> f64 {
    let sizes = (1..=workspaces).map(|rank| f64::from(rank).powf(-exponent));
    let total: f64 = sizes.clone().sum();
    let mut loads = vec![0.0f64; cells.max(1)];
    for size in sizes {
        let emptiest = loads.iter_mut().min_by(|one, other| one.total_cmp(other));
        if let Some(load) = emptiest {
            *load += size;
        }
    }
    loads.into_iter().fold(0.0, f64::max) / total
}
