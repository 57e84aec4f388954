//! What the first driver starts in a pass: src/daemon/admission.rs, in memory.

use trainyard::domain::admit::{Admission, Ledger, Limits, Waiting, admit};
use trainyard::domain::bad_nodes::Avoided;
use trainyard::domain::ids::{RunId, SubmissionId, Token};
use trainyard::domain::quota::{Demand, Quotas};
use trainyard::domain::run::{Call, Event, State, step};
use trainyard::domain::site::LOCAL;

use crate::sim::core::{CallRecord, Crash, World};
use crate::sim::model::{Claim, Submitted};
use crate::sim::truth::Rule;

impl World {
    pub(super) fn admit_waiting(&mut self) -> Result<(), Crash> {
        self.call_again()?;
        let now = self.model.now();
        let is_over =
            |run: RunId| self.rows.iter().any(|row| row.run.id == run && row.run.state.is_final());
        let (mut waiting, mut live) = (Vec::new(), Vec::new());
        for row in self.rows.iter().filter(|row| !row.run.state.is_final()) {
            let run = row.run.id;
            let demand = Demand {
                owner: "anna".to_owned(),
                project: None,
                cluster: self.model.cluster.clone(),
                class: "gpu".to_owned(),
                nodes: 1,
            };
            if let State::Pending { why, .. } = &row.run.state {
                let is_held_off = row.run.is_held_off(&row.policy, now);
                let refused = is_held_off.then(|| why.clone().unwrap_or_default());
                let waits_for = row.waits_for.filter(|run| !is_over(*run)).into_iter().collect();
                waiting.push(Waiting { run, demand, waits_for, refused, asked: None });
            } else if row.run.state.depends_on_scheduler() {
                live.push(demand);
            }
        }
        if waiting.is_empty() {
            return Ok(());
        }
        let limits =
            Limits { local_running_max: self.local_running_max, quotas: Quotas::default() };
        for (run, admission) in admit(&waiting, &live, &limits, Ledger::new()) {
            let Some(n) = self.rows.iter().position(|row| row.run.id == run) else { continue };
            match admission {
                Admission::Start => self.submit(n)?,
                Admission::Wait { why } => {
                    let row = &self.rows[n];
                    if matches!(&row.run.state, State::Pending { why: known, .. } if known.as_ref() != Some(&why))
                    {
                        let decision = step(&row.run, &Event::Waits { why }, &row.policy, now);
                        self.effect("record why a run waits")?;
                        self.model.recorded(n, &self.rows[n].run, &decision, 0);
                        self.rows[n].run = decision.run;
                    }
                }
            }
        }
        Ok(())
    }

    fn submit(&mut self, n: usize) -> Result<(), Crash> {
        let now = self.model.now();
        let token = Token::from_bits(self.model.chance.bits());
        let place = self.model.submitted.len();
        let id = SubmissionId(i64::try_from(place).unwrap_or(0) + 1);
        let row = &self.rows[n];
        let attempt_base = row.run.attempts + 1;
        let cluster = self.model.cluster.clone();
        let avoided = Avoided::default();
        let event = Event::Admitted { submission: id, token: token.clone(), cluster, avoided };
        let decision = step(&row.run, &event, &row.policy, now);
        self.effect("record an intent")?;
        let claim = Claim::Free;
        self.model.submitted.push(Submitted { run: n, id, token, attempt_base, claim });
        self.calls.push(CallRecord { submission: id, answer: None, called_at: now, is_here: true });
        self.model
            .tell(|_| format!("recorded: the intent to submit run {} as submission {id}", n + 1));
        let most = self.rows[n].policy.max_restarts;
        self.model.recorded(n, &self.rows[n].run, &decision, most);
        self.model.admitted(n, most);
        let waits_for = self.rows[n].waits_for;
        let too_soon =
            self.rows.iter().any(|row| Some(row.run.id) == waits_for && !row.run.state.is_final());
        if too_soon {
            self.model.accuse(Rule::StartedTooSoon, |_| format!("run {} had to wait", n + 1));
        }
        self.rows[n].run = decision.run;
        let live = self.rows.iter().filter(|row| row.run.state.depends_on_scheduler()).count();
        if self.model.cluster == LOCAL && live > self.local_running_max as usize {
            self.model.accuse(Rule::StartedTooSoon, |_| format!("{live} local runs at once"));
        }
        self.effect("call sbatch")?;
        self.start(place);
        Ok(())
    }

    fn start(&mut self, place: usize) {
        let call = self.model.sbatch(place);
        self.process.under_way.push((place, call));
    }

    fn call_again(&mut self) -> Result<(), Crash> {
        let (now, mut is_first) = (self.model.now(), true);
        for n in 0..self.rows.len() {
            let row = &self.rows[n];
            let State::Submitting { call: Call::Unreachable(unreachable) } = &row.run.state else {
                continue;
            };
            let Some(id) = row.run.submission.as_ref().map(|submission| submission.id) else {
                continue;
            };
            let tries = std::mem::take(&mut is_first);
            let is_reachable = self.process.is_reachable;
            let waits = unreachable.again_at.is_some();
            let is_due = waits && (is_reachable || unreachable.is_due(&row.policy, now));
            if !is_due || !tries && !is_reachable {
                continue;
            }
            let decision = step(&row.run, &Event::CalledAgain, &row.policy, now);
            self.effect("record that sbatch is called again")?;
            self.model.recorded(n, &self.rows[n].run, &decision, u32::MAX);
            self.rows[n].run = decision.run;
            if let Some(record) = self.calls.iter_mut().find(|call| call.submission == id) {
                (record.answer, record.called_at, record.is_here) = (None, now, true);
            }
            self.effect("call sbatch again")?;
            self.start(self.place_of(id));
        }
        Ok(())
    }
}
