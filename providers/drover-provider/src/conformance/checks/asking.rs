//! The checks of what an instance is asked: a command as a health check, its own health, and what it printed.

use std::time::{Duration, Instant};

use drover_model::{CheckOutcome, Value};

use crate::{OptionalMethod, ProviderError};

use super::super::{
    Context, ErrorClass, Miss, ProviderPhase, ProviderRef, ProvisionRequest, Verdict, Words as _,
    destroying, ensure, owned, shown_command,
};

/// How long a command that ends may take: long enough for a machine that is busy.
const LIMIT: Duration = Duration::from_secs(10);

/// How long one may take that does not end by itself.
const SHORT: Duration = Duration::from_millis(500);

/// How much later than its limit the answer of a check may be.
const LATE: Duration = Duration::from_secs(10);

/// More lines than are printed.
const LINES: usize = 1_000;

/// Of how many waits one is spent on waiting for what may never come, where nobody says that it does.
const HOPE: u32 = 10;

type Answer = Result<CheckOutcome, ProviderError>;

/// What is asked of an instance.
#[derive(Clone, Copy)]
enum Question<'a> {
    Check(&'a [String]),
    Health,
}

impl Question<'_> {
    async fn ask(self, context: &Context<'_>, instance: &ProviderRef) -> Answer {
        match self {
            Self::Check(command) => context.provider.check(instance, command, LIMIT).await,
            Self::Health => context.provider.health(instance, LIMIT).await,
        }
    }

    /// Asks until the answer is as wanted, for a part of the waits: the whole, or one in so many. Returns the last answer.
    async fn until(
        self,
        context: &Context<'_>,
        instance: &ProviderRef,
        part: u32,
        wanted: fn(&CheckOutcome) -> bool,
    ) -> Result<CheckOutcome, Miss> {
        for _ in context.waits(part) {
            let outcome = self.ask(context, instance).await?;
            if wanted(&outcome) {
                return Ok(outcome);
            }
            context.subject.wait().await;
        }
        Ok(self.ask(context, instance).await?)
    }

    /// Fails if what is gone, or never was, passes for longer than an answer may be old.
    async fn never_passes(
        self,
        context: &Context<'_>,
        instance: &ProviderRef,
        what: &str,
    ) -> Verdict {
        for _ in context.waits(1) {
            match self.ask(context, instance).await {
                Ok(CheckOutcome::Passing) => context.subject.wait().await,
                Ok(CheckOutcome::Failing { .. } | CheckOutcome::Unknown { .. }) => return Ok(()),
                Err(error) => {
                    return ensure(error.class == ErrorClass::NotFound, || {
                        format!("{what}: the class is {}: {error}", error.class.as_str())
                    });
                }
            }
        }
        Err(Miss::Failed(format!("{what} passes")))
    }
}

fn passes(outcome: &CheckOutcome) -> bool {
    matches!(outcome, CheckOutcome::Passing)
}

fn fails(outcome: &CheckOutcome) -> bool {
    matches!(outcome, CheckOutcome::Failing { .. })
}

/// Fails unless an outcome is a failure, and one that says why.
fn failing(outcome: &CheckOutcome, what: &str) -> Verdict {
    ensure(
        matches!(outcome, CheckOutcome::Failing { why } if !why.trim().is_empty()),
        || format!("{what} is answered with {}", outcome.words()),
    )
}

/// Fails unless the instance is what it was before it was asked.
async fn untouched(
    context: &Context<'_>,
    request: &ProvisionRequest,
    instance: &ProviderRef,
) -> Verdict {
    let listed = context.listed(instance).await?;
    let wanted = owned(request, &request.slots[0]);
    let is_same = listed.as_ref().is_some_and(|listed| {
        listed.phase == ProviderPhase::Running && listed.ownership.as_ref() == Some(&wanted)
    });
    ensure(is_same, || {
        format!("asking has changed it: {}", listed.words())
    })
}

async fn end(context: &Context<'_>, request: &ProvisionRequest, instance: &ProviderRef) -> Verdict {
    let end = destroying(request, &request.slots[0].instance, instance);
    context.provider.destroy(&end).await?;
    context.until_gone(instance).await
}

pub(super) async fn check(context: &Context<'_>) -> Verdict {
    context.offered(OptionalMethod::Check)?;
    let commands = context.subject.commands();
    let (request, instance) = context.one(0).await?;
    context.until_running(&instance).await?;
    let passing = Question::Check(&commands.passing);
    let outcome = passing.until(context, &instance, 1, passes).await?;
    ensure(passes(&outcome), || {
        let passing = shown_command(&commands.passing);
        format!("{passing} is answered with {}", outcome.words())
    })?;
    let refused = Question::Check(&commands.failing)
        .ask(context, &instance)
        .await?;
    match context.subject.unhealthy() {
        // No command is run, so that none can fail.
        Some(properties) if passes(&refused) => {
            unhealthy(context, passing, properties).await?;
        }
        _ => {
            failing(&refused, &shown_command(&commands.failing))?;
            slow(context, &instance, &commands.slow).await?;
        }
    }
    untouched(context, &request, &instance).await?;
    end(context, &request, &instance).await?;
    passing
        .never_passes(context, &instance, "an instance that is gone")
        .await?;
    let never = Context::never_was();
    passing
        .never_passes(context, &never, "an instance that never was")
        .await
}

/// Fails if a command passes that was not waited for, or is waited for beyond its limit.
async fn slow(context: &Context<'_>, instance: &ProviderRef, command: &[String]) -> Verdict {
    let begun = Instant::now();
    let outcome = context.provider.check(instance, command, SHORT).await?;
    let took = begun.elapsed();
    ensure(!passes(&outcome), || {
        format!("{} passes after {}", shown_command(command), took.words())
    })?;
    ensure(took <= SHORT + LATE, || {
        let (shown, took) = (shown_command(command), took.words());
        format!(
            "{shown} may take {}, and is answered after {took}",
            SHORT.words()
        )
    })
}

/// Fails unless an instance that is not healthy is said to fail.
async fn unhealthy(context: &Context<'_>, question: Question<'_>, properties: Value) -> Verdict {
    let (_, instance) = context.one_of(20, properties).await?;
    context.until_running(&instance).await?;
    let outcome = question.until(context, &instance, 1, fails).await?;
    failing(&outcome, "an instance that is never healthy")
}

pub(super) async fn health(context: &Context<'_>) -> Verdict {
    context.offered(OptionalMethod::Health)?;
    let (first_request, first) = context.one(0).await?;
    let (request, second) = context.one(1).await?;
    context.until_running(&first).await?;
    context.until_running(&second).await?;
    let health = Question::Health;
    let before = health.until(context, &second, HOPE, passes).await?;
    ensure(!fails(&before), || {
        format!("an instance that runs is answered with {}", before.words())
    })?;
    untouched(context, &request, &second).await?;
    end(context, &first_request, &first).await?;
    health
        .never_passes(context, &first, "an instance that is gone")
        .await?;
    let never = Context::never_was();
    health
        .never_passes(context, &never, "an instance that never was")
        .await?;
    let after = health.until(context, &second, HOPE, passes).await?;
    let same = std::mem::discriminant(&before) == std::mem::discriminant(&after);
    ensure(same, || {
        let (before, after) = (before.words(), after.words());
        format!("another instance has ended, and {before} has become {after}")
    })?;
    match (context.subject.unhealthy(), before) {
        (Some(properties), _) => unhealthy(context, health, properties).await,
        (None, CheckOutcome::Unknown { why }) => Err(Miss::Skipped(format!(
            "of an instance that runs it knows only this: {why}"
        ))),
        (None, CheckOutcome::Passing | CheckOutcome::Failing { .. }) => Ok(()),
    }
}

pub(super) async fn logs(context: &Context<'_>) -> Verdict {
    context.offered(OptionalMethod::Logs)?;
    let never = Context::never_was();
    match context.provider.logs(&never, LINES).await {
        Ok(text) => {
            let why = format!("an instance that never was has printed {text:?}");
            return Err(Miss::Failed(why));
        }
        Err(error) => ensure(error.class == ErrorClass::NotFound, || {
            let class = error.class.as_str();
            format!("an instance that never was: the class is {class}: {error}")
        })?,
    }
    let (printing, part) = match context.subject.printing() {
        Some(properties) => (properties, 1),
        None => (context.subject.running(), HOPE),
    };
    let (request, instance) = context.one_of(0, printing).await?;
    context.until_running(&instance).await?;
    let all = printed(context, &instance, part).await?;
    for count in [1, 2] {
        let text = context.provider.logs(&instance, count).await?;
        let got: Vec<&str> = text.lines().collect();
        let from = all.len().saturating_sub(count);
        ensure(got == all[from..], || {
            format!("the last {count} lines of {all:?} are {got:?}")
        })?;
    }
    untouched(context, &request, &instance).await?;
    end(context, &request, &instance).await?;
    match context.provider.logs(&instance, LINES).await {
        Ok(_) => {}
        Err(error) => ensure(error.class == ErrorClass::NotFound, || {
            let class = error.class.as_str();
            format!("an instance that is gone: the class is {class}: {error}")
        })?,
    }
    if all.len() >= 2 {
        return Ok(());
    }
    let lines = all.len();
    let why =
        format!("an instance prints {lines} lines here, so that nobody sees which are the last");
    Err(match context.subject.printing() {
        Some(_) => Miss::Failed(why),
        None => Miss::Skipped(why),
    })
}

/// Returns the lines that an instance has printed, once there are two and no more come.
async fn printed(
    context: &Context<'_>,
    instance: &ProviderRef,
    part: u32,
) -> Result<Vec<String>, Miss> {
    let mut last: Option<Vec<String>> = None;
    for _ in context.waits(part) {
        let text = context.provider.logs(instance, LINES).await?;
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        if lines.len() >= 2 && last.as_ref() == Some(&lines) {
            return Ok(lines);
        }
        last = Some(lines);
        context.subject.wait().await;
    }
    Ok(last.unwrap_or_default())
}
