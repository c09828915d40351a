//! One check: a line of fact, or a cause with its cure.

use serde::Serialize;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    pub name: &'static str,
    #[serde(flatten)]
    pub outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    Good {
        fact: String,
    },
    /// It works, but not well, or not for long.
    Warning {
        cause: String,
        cure: String,
    },
    Failed {
        cause: String,
        cure: String,
    },
    /// It depends on one that failed, or does not apply.
    Skipped {
        because: String,
    },
}

impl Outcome {
    pub(super) fn good(fact: impl Into<String>) -> Self {
        Self::Good { fact: fact.into() }
    }

    pub(super) fn warning(cause: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::Warning { cause: cause.into(), cure: cure.into() }
    }

    pub(super) fn failed(cause: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::Failed { cause: cause.into(), cure: cure.into() }
    }

    pub(super) fn skipped(because: impl Into<String>) -> Self {
        Self::Skipped { because: because.into() }
    }

    #[must_use]
    pub const fn is_failure(&self) -> bool {
        matches!(self, Self::Failed { .. })
    }
}

impl Check {
    /// One line, and the cure on the next.
    #[must_use]
    pub fn text(&self) -> String {
        let name = self.name;
        match &self.outcome {
            Outcome::Good { fact } => format!("✔ {name}: {fact}"),
            Outcome::Warning { cause, cure } => format!("! {name}: {cause}\n  → {cure}"),
            Outcome::Failed { cause, cure } => format!("✘ {name}: {cause}\n  → {cure}"),
            Outcome::Skipped { because } => format!("- {name}: skipped because {because}"),
        }
    }
}

/// How many of each there are, for the last line.
#[must_use]
pub fn verdict(checks: &[Check]) -> String {
    let count = |wanted: fn(&Outcome) -> bool| checks.iter().filter(|check| wanted(&check.outcome)).count();
    let failed = count(Outcome::is_failure);
    let warnings = count(|outcome| matches!(outcome, Outcome::Warning { .. }));
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    match (failed, warnings) {
        (0, 0) => "all is well".to_owned(),
        (0, _) => format!("it works, with {warnings} warning{}", plural(warnings)),
        _ => format!("{failed} check{} failed, {warnings} warning{}", plural(failed), plural(warnings)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(outcome: Outcome) -> Check {
        Check { name: "fix", outcome }
    }

    #[test]
    fn a_check_is_a_line_and_a_failed_one_has_its_cure_below() {
        assert_eq!(check(Outcome::good("47° N")).text(), "✔ fix: 47° N");
        assert_eq!(
            check(Outcome::failed("no antenna", "plug it in")).text(),
            "✘ fix: no antenna\n  → plug it in"
        );
        assert_eq!(check(Outcome::skipped("no device")).text(), "- fix: skipped because no device");
    }

    #[test]
    fn machines_get_the_same() {
        let json = serde_json::to_value(check(Outcome::failed("no antenna", "plug it in"))).unwrap();
        let expected = serde_json::json!({"name": "fix", "outcome": "failed", "cause": "no antenna", "cure": "plug it in"});
        assert_eq!(json, expected);
    }

    #[test]
    fn the_last_line_counts() {
        let (good, bad) = (check(Outcome::good("")), check(Outcome::failed("", "")));
        let warned = check(Outcome::warning("", ""));
        assert_eq!(verdict(std::slice::from_ref(&good)), "all is well");
        assert_eq!(verdict(&[good.clone(), warned.clone()]), "it works, with 1 warning");
        assert_eq!(verdict(&[good, warned, bad.clone(), bad]), "2 checks failed, 1 warning");
    }
}
