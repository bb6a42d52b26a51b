//! What the double holds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use drover_model::Timestamp;

use super::Refusal;

/// How the double behaves. The default is instant.
#[derive(Debug, Clone)]
pub(crate) struct FakeSettings {
    /// From launch to running.
    pub(crate) boot: Duration,
    /// From launch until descriptions have it.
    pub(crate) list_lag: Duration,
    /// From the making of a network interface until launches and descriptions know it.
    pub(crate) interface_lag: Duration,
    /// From the order to end until descriptions say so.
    pub(crate) state_lag: Duration,
    /// From the order to end to the end.
    pub(crate) stop: Duration,
    /// How long the terminated stay listed.
    pub(crate) remember: Duration,
    /// How long an answer takes.
    pub(crate) latency: Duration,
}

impl Default for FakeSettings {
    fn default() -> Self {
        Self {
            boot: Duration::ZERO,
            list_lag: Duration::ZERO,
            interface_lag: Duration::ZERO,
            state_lag: Duration::ZERO,
            stop: Duration::ZERO,
            remember: Duration::from_hours(1),
            latency: Duration::ZERO,
        }
    }
}

/// A machine.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub(crate) id: String,
    pub(crate) reservation: String,
    pub(crate) launch_index: usize,
    pub(crate) token: String,
    pub(crate) image: String,
    pub(crate) type_: String,
    pub(crate) key: String,
    pub(crate) subnet: Option<String>,
    pub(crate) zone: String,
    pub(crate) address: String,
    pub(crate) interface: Option<String>,
    pub(crate) groups: Vec<String>,
    pub(crate) spot: bool,
    pub(crate) user_data: Option<String>,
    pub(crate) http_tokens: String,
    /// The ARN of its instance profile.
    pub(crate) profile: Option<String>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) launched: Instant,
    pub(crate) launched_at: Timestamp,
    /// When it ended, and why: code and words.
    pub(crate) ended: Option<(Instant, String, String)>,
    /// When it stopped by itself.
    pub(crate) stopped: Option<Instant>,
    /// When its spot capacity is marked to be taken.
    pub(crate) marked: Option<Timestamp>,
    /// The code and the time of a scheduled event.
    pub(crate) event: Option<(String, Timestamp)>,
    pub(crate) impaired: bool,
    /// The scaling group that it is in, and Amazon's word for where it is in its life there.
    pub(crate) scaling: Option<(String, String)>,
}

/// What a token stands for.
#[derive(Debug, Clone)]
pub(crate) struct Spent {
    pub(crate) fingerprint: String,
    pub(crate) ids: Vec<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct Disk {
    pub(crate) zone: String,
    pub(crate) size: usize,
    pub(crate) tags: BTreeMap<String, String>,
    /// The instance and the device.
    pub(crate) attached: Option<(String, String)>,
}

#[derive(Debug, Clone)]
pub(crate) struct Interface {
    pub(crate) subnet: String,
    pub(crate) zone: String,
    pub(crate) address: String,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) made: Instant,
}

/// Everything.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) settings: FakeSettings,
    /// Whose everything is.
    pub(crate) account: String,
    pub(crate) calls: BTreeMap<String, u64>,
    pub(crate) machines: BTreeMap<String, Machine>,
    /// What tokens of launches stand for: each counts in the zone that the launch names, or else in the region.
    pub(crate) tokens: BTreeMap<(String, Option<String>), Spent>,
    pub(crate) disks: BTreeMap<String, Disk>,
    pub(crate) interfaces: BTreeMap<String, Interface>,
    /// What tokens of other things than instances stand for.
    pub(crate) made: BTreeMap<String, Spent>,
    /// The zone of each subnet.
    pub(crate) subnets: BTreeMap<String, String>,
    /// Room left, by type and place (subnet, else zone). Absent: there is room.
    pub(crate) room: BTreeMap<(String, String), usize>,
    /// How many more launches find no room in a zone, never two one after the other.
    pub(crate) shortages: BTreeMap<String, usize>,
    /// Whether the last launch found none for that reason.
    pub(crate) was_short: bool,
    /// Instances that the role may not end.
    pub(crate) untouchable: BTreeSet<String>,
    /// Types of which the account may have no more, on demand or as spot capacity.
    pub(crate) limited: BTreeSet<(String, bool)>,
    /// Refusals to come, by action.
    pub(crate) refusals: BTreeMap<String, Vec<Refusal>>,
    /// The only key that is accepted. None: any.
    pub(crate) key: Option<String>,
    /// What stands before it answers the next call itself: a status and a body.
    pub(crate) in_between: Option<(u16, String)>,
    /// Answers to lose, by action.
    pub(crate) losses: BTreeMap<String, usize>,
    /// What somebody else puts on what is tagged next, right afterwards.
    pub(crate) rival: Option<BTreeMap<String, String>>,
    /// For how many more descriptions owners' tags are not there yet.
    pub(crate) tags_behind: usize,
    pub(crate) groups: BTreeMap<String, super::scaling::ScalingGroup>,
    /// Scaling groups that were.
    pub(crate) past_groups: BTreeSet<String>,
    /// How many versions each launch template has.
    pub(crate) template_versions: usize,
    /// Most scaling groups of a page.
    pub(crate) scaling_page: usize,
    /// Whether instance refreshes stay where they are.
    pub(crate) refreshes_wait: bool,
    /// The most instances that existed at once, of the fleet's.
    pub(crate) peak: usize,
    next: u64,
}

impl World {
    pub(crate) fn new(settings: FakeSettings) -> Self {
        let subnets = ["a", "b", "c"];
        let subnets = subnets.map(|zone| (format!("subnet-{zone}"), format!("eu-central-1{zone}")));
        let mut subnets = BTreeMap::from(subnets);
        // A second one beside the first.
        subnets.insert("subnet-a2".to_owned(), "eu-central-1a".to_owned());
        Self {
            settings,
            account: "123456789012".to_owned(),
            calls: BTreeMap::new(),
            machines: BTreeMap::new(),
            tokens: BTreeMap::new(),
            disks: BTreeMap::new(),
            interfaces: BTreeMap::new(),
            made: BTreeMap::new(),
            subnets,
            room: BTreeMap::new(),
            shortages: BTreeMap::new(),
            was_short: false,
            untouchable: BTreeSet::new(),
            limited: BTreeSet::new(),
            refusals: BTreeMap::new(),
            key: None,
            in_between: None,
            losses: BTreeMap::new(),
            rival: None,
            tags_behind: 0,
            groups: BTreeMap::new(),
            past_groups: BTreeSet::new(),
            template_versions: 9,
            scaling_page: 100,
            refreshes_wait: false,
            peak: 0,
            next: 1,
        }
    }

    /// Refuses the next calls of an action.
    pub(crate) fn refuse(&mut self, action: &str, code: &str, times: usize) {
        let refusal = Refusal::new(code, "as the test says");
        let queue = self.refusals.entry(action.to_owned()).or_default();
        queue.extend(std::iter::repeat_n(refusal, times));
    }

    pub(crate) fn turn_away(&mut self, action: &str) -> Option<Refusal> {
        let queue = self.refusals.get_mut(action)?;
        let next = (!queue.is_empty()).then(|| queue.remove(0));
        next.filter(|refusal| !refusal.code.is_empty())
    }

    /// Loses the answers of the next calls of an action that take effect.
    pub(crate) fn lose(&mut self, action: &str, times: usize) {
        self.losses.insert(action.to_owned(), times);
    }

    pub(crate) fn loses(&mut self, action: &str) -> bool {
        match self.losses.get_mut(action) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        }
    }

    /// Draws a number that was not drawn before.
    pub(crate) fn draw(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(crate) fn draw_address(&mut self) -> String {
        let number = self.draw();
        format!(
            "10.{}.{}.{}",
            number >> 16 & 255,
            number >> 8 & 255,
            number & 255
        )
    }

    /// Returns the machines that exist, as a person would count them: neither ended nor ending.
    pub(crate) fn living(&self) -> impl Iterator<Item = &Machine> {
        self.machines
            .values()
            .filter(|machine| machine.ended.is_none())
    }

    /// Notes how many there are.
    pub(crate) fn count(&mut self) {
        self.peak = self.peak.max(self.living().count());
    }
}

impl Machine {
    /// Returns the state's code and name as descriptions have it.
    pub(crate) fn state(&self, settings: &FakeSettings, now: Instant) -> (u8, &'static str) {
        if let Some((ended, ..)) = &self.ended {
            let told = *ended + settings.state_lag;
            if now >= told + settings.stop {
                return (48, "terminated");
            }
            if now >= told {
                return (32, "shutting-down");
            }
        }
        if self.stopped.is_some() {
            return (80, "stopped");
        }
        if now >= self.launched + settings.boot {
            (16, "running")
        } else {
            (0, "pending")
        }
    }

    /// Returns whether descriptions have it.
    pub(crate) fn is_listed(&self, settings: &FakeSettings, now: Instant) -> bool {
        let late = now < self.launched + settings.list_lag;
        let gone = self
            .ended
            .as_ref()
            .is_some_and(|(ended, ..)| now >= *ended + settings.stop + settings.remember);
        !late && !gone
    }

    pub(crate) fn reason(&self) -> (String, String) {
        match (&self.ended, self.stopped) {
            (Some((_, code, words)), _) => (code.clone(), words.clone()),
            (None, Some(_)) => {
                let code = "Client.InstanceInitiatedShutdown".to_owned();
                let words = format!("{code}: Instance initiated shutdown");
                (code, words)
            }
            (None, None) => (String::new(), String::new()),
        }
    }
}
