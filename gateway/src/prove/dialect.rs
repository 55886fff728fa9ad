//! Translates between spellings of SMT-LIB. In: a script as cvc5 reads it, or a model as z3 writes it. Out: the same for the other. Never here: processes.
//!
//! SMT-LIB has no standard theory of finite sets; the compiler of proofs writes cvc5's. z3 has one with other names, and without `set.insert`.

/// Whose spelling a program reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// cvc5's: what the compiler writes.
    Cvc5,
    /// z3's.
    Z3,
}

impl Dialect {
    /// The script as the program reads it.
    pub fn script(self, text: &str) -> String {
        match self {
            Self::Cvc5 => text.to_owned(),
            Self::Z3 => outward(text),
        }
    }

    /// The model as the compiler reads it.
    pub fn model(self, text: &str) -> String {
        match self {
            Self::Cvc5 => text.to_owned(),
            Self::Z3 => inward(text),
        }
    }
}

/// `(set.insert a b s)` becomes unions of singletons, the other words are replaced. The stack holds, for every open list, where in `out` it begins
/// and, for an insertion, where its parts begin; no recursion, so that no depth of nesting overflows ours.
fn outward(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 4);
    let mut open: Vec<List> = Vec::new();
    let mut heading = false;
    for token in tokens(text) {
        let blank = token.starts_with(|first: char| first.is_whitespace()) || token.starts_with(';');
        if !blank && token != ")" {
            let start = out.len();
            if let Some(Some(parts)) = open.last_mut().map(|list| &mut list.parts) {
                parts.push(start);
            }
        }
        match token {
            "(" => {
                open.push(List { start: out.len(), parts: None });
                out.push('(');
            }
            ")" => {
                out.push(')');
                if let Some(List { start, parts: Some(parts) }) = open.pop() {
                    inserted(&mut out, start, &parts);
                }
            }
            "set.insert" if heading => {
                if let Some(list) = open.last_mut() {
                    list.parts = Some(Vec::new());
                }
            }
            other => out.push_str(renamed(other)),
        }
        heading = token == "(" || (heading && blank);
    }
    out
}

/// Names of sorts are replaced, and texts that z3 writes as `(str.++ (seq.unit (_ Char 97)) …)` become literals.
fn inward(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut open: Vec<usize> = Vec::new();
    for token in tokens(text) {
        match token {
            "(" => {
                open.push(out.len());
                out.push('(');
            }
            ")" => {
                out.push(')');
                let start = open.pop().unwrap_or(out.len());
                if let Some(literal) = out.get(start..).and_then(literal) {
                    out.truncate(start);
                    out.push_str(&literal);
                }
            }
            "FiniteSet" => out.push_str("Set"),
            other => out.push_str(other),
        }
    }
    out
}

/// The text that a closed list stands for, if it is a character or joins literals.
fn literal(list: &str) -> Option<String> {
    if let Some(code) = list.strip_prefix("(seq.unit (_ Char ") {
        let code: u32 = code.strip_suffix("))")?.parse().ok()?;
        return Some(match char::from_u32(code).filter(|one| one.is_ascii_graphic() && !matches!(one, '"' | '\\')) {
            Some(plain) => format!("\"{plain}\""),
            None => format!("\"\\u{{{code:x}}}\""),
        });
    }
    let parts = list.strip_prefix("(str.++")?.strip_suffix(')')?;
    let mut joined = String::from("\"");
    for part in tokens(parts).filter(|part| !part.starts_with(char::is_whitespace)) {
        joined.push_str(part.strip_prefix('"')?.strip_suffix('"')?);
    }
    joined.push('"');
    Some(joined)
}

struct List {
    start: usize,
    parts: Option<Vec<usize>>,
}

/// Writes the insertion that begins at `start` anew; its parts begin where `parts` says, the set last.
fn inserted(out: &mut String, start: usize, parts: &[usize]) {
    let Some((set, elements)) = parts.split_last() else { return };
    let end = out.len().saturating_sub(1);
    let mut whole = out.get(*set..end).unwrap_or_default().trim().to_owned();
    for (at, element) in elements.iter().enumerate() {
        let until = elements.get(at + 1).unwrap_or(set);
        let element = out.get(*element..*until).unwrap_or_default().trim();
        whole = format!("(set.union (set.singleton {element}) {whole})");
    }
    out.truncate(start);
    out.push_str(&whole);
}

fn renamed(token: &str) -> &str {
    match token {
        "Set" => "FiniteSet",
        "set.member" => "set.in",
        "set.inter" => "set.intersect",
        other => other,
    }
}

/// Brackets, blanks, comments, strings, quoted symbols and words; together they are the text.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let closed =
            |quote: char| rest.chars().skip(1).take_while(|one| *one != quote).map(char::len_utf8).sum::<usize>() + 2;
        let length = match first {
            '(' | ')' => 1,
            '"' | '|' => closed(first),
            ';' => rest.find('\n').unwrap_or(rest.len()),
            blank if blank.is_whitespace() => rest.find(|one: char| !one.is_whitespace()).unwrap_or(rest.len()),
            _ => {
                let ends = |one: char| one.is_whitespace() || matches!(one, '(' | ')' | '"' | '|' | ';');
                rest.find(ends).unwrap_or(rest.len())
            }
        };
        let (token, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
        rest = after;
        Some(token)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(Dialect::Z3.script(text), expected, "{text}");
        assert_eq!(Dialect::Cvc5.script(text), text);
        assert_eq!(tokens(text).collect::<String>(), text);
    }

    #[test]
    fn sets_are_spelled_as_the_program_reads_them() {
        check("(define-fun t9 () (Set E6) (f0 t8))", "(define-fun t9 () (FiniteSet E6) (f0 t8))");
        check("(set.member t7 t9)(set.inter a b)", "(set.in t7 t9)(set.intersect a b)");
        check(
            "(x (set.insert \"a\" (E1 \"b\") (as set.empty (Set String))) y)",
            "(x (set.union (set.singleton (E1 \"b\")) (set.union (set.singleton \"a\") (as set.empty (FiniteSet String)))) y)",
        );
        check("(set.insert a (set.insert b s))", "(set.union (set.singleton a) (set.union (set.singleton b) s))");
    }

    #[test]
    fn what_stands_in_quotes_or_comments_is_left() {
        check("(= t \"(set.insert Set \"\"set.member\")", "(= t \"(set.insert Set \"\"set.member\")");
        check("; Set (set.member\n(Set |Set (|)", "; Set (set.member\n(FiniteSet |Set (|)");
        check("(open \"never closed", "(open \"never closed");
    }

    #[test]
    fn models_come_back_as_the_compiler_reads_them() {
        let model = "((define-fun f ((x!0 E7)) (FiniteSet E6) (as set.empty (FiniteSet E6))) \"FiniteSet\")";
        let expected = "((define-fun f ((x!0 E7)) (Set E6) (as set.empty (Set E6))) \"FiniteSet\")";
        assert_eq!(Dialect::Z3.model(model), expected);
        let model = "(E6 (str.++ (seq.unit (_ Char 97)) (seq.unit (_ Char 34))\n  \"b\"))(str.++ x \"a\")(seq.unit y)";
        assert_eq!(Dialect::Z3.model(model), "(E6 \"a\\u{22}b\")(str.++ x \"a\")(seq.unit y)");
    }
}
