//! Shows where a stage spends its instructions. In: callgrind's part of it. Out: its functions by what they cost themselves, code that was
//! inlined counted where it was inlined. Never here: judgement.

use std::collections::HashMap;
use std::fs;

use anyhow::{Context, Result};

use super::count::Counted;

/// Prints the dearest functions of each stage that was counted.
///
/// # Errors
/// When callgrind's part cannot be read.
pub fn show(counted: &Counted, shown: usize) -> Result<()> {
    for stage in &counted.stages {
        let text = fs::read(&stage.part).with_context(|| format!("`{}` cannot be read", stage.part.display()))?;
        let turn = |cost: u64| cost.div_ceil(stage.turns.max(1));
        println!("{}: {} instructions a turn", stage.name, stage.instructions);
        for (name, cost) in costs(&String::from_utf8_lossy(&text)).into_iter().take(shown) {
            println!("{:>9} {:>5.1} %  {name}", turn(cost), 100.0 * turn(cost) as f64 / stage.instructions as f64);
        }
    }
    Ok(())
}

/// What each function costs itself, the dearest first. A name is spelt out where it first stands and numbered from then on; a line of cost
/// that follows `calls=` is what the called function cost.
fn costs(part: &str) -> Vec<(String, u64)> {
    let mut names: HashMap<&str, &str> = HashMap::new();
    let mut costs: HashMap<&str, u64> = HashMap::new();
    let (mut function, mut is_callee) = ("", false);
    for line in part.lines() {
        if let Some(name) = line.strip_prefix("fn=") {
            function = spelt(&mut names, name);
        } else if let Some(name) = line.strip_prefix("cfn=") {
            spelt(&mut names, name);
        } else if line.starts_with("calls=") {
            is_callee = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            let cost = line.split(' ').nth(1).and_then(|cost| cost.parse::<u64>().ok());
            if !std::mem::take(&mut is_callee) {
                *costs.entry(function).or_default() += cost.unwrap_or(0);
            }
        }
    }
    let mut costs: Vec<(String, u64)> = costs.into_iter().map(|(name, cost)| (name.to_owned(), cost)).collect();
    costs.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
    costs
}

/// `(7) name` or, later on, `(7)`.
fn spelt<'t>(names: &mut HashMap<&'t str, &'t str>, text: &'t str) -> &'t str {
    match text.split_once(' ') {
        Some((number, name)) => {
            names.insert(number, name);
            name
        }
        None => names.get(text).copied().unwrap_or(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(part: &str, expected: &[(&str, u64)]) {
        let expected: Vec<_> = expected.iter().map(|(name, cost)| ((*name).to_owned(), *cost)).collect();
        assert_eq!(costs(part), expected, "part: {part}");
    }

    #[test]
    fn what_a_called_function_costs_is_counted_as_its_own_alone() {
        check("", &[]);
        check(
            "fn=(1) outer\n10 5\nfi=(3) other.rs\n+2 1\ncfn=(2) inner\ncalls=4 20\n12 400\n* 2\n\nfn=(2)\n20 400\n",
            &[("inner", 400), ("outer", 8)],
        );
        check("fn=(1) a\n1 1\nfn=(1)\n-1 2\n", &[("a", 3)]);
    }
}
