//! Makes JSON texts for the property tests: every way of escaping and spacing, nested, with the paths of all their values.

use proptest::prelude::*;

/// A value together with how it is to be written.
#[derive(Clone, Debug)]
pub enum Tree {
    Scalar(String),
    Text(String),
    List(Vec<Tree>),
    /// Keys may repeat only where the strategy was asked for it.
    Map(Vec<(String, Tree)>),
}

fn tree(keys: &'static str, repeats: Repeats) -> impl Strategy<Value = Tree> {
    let scalar = prop_oneof![
        any::<i16>().prop_map(|number| Tree::Scalar(number.to_string())),
        (any::<i16>(), 0_u32..1000).prop_map(|(whole, part)| Tree::Scalar(format!("{whole}.{part}"))),
        (any::<i8>(), -30..30).prop_map(|(whole, power)| Tree::Scalar(format!("{whole}e{power}"))),
        prop_oneof![Just("true"), Just("false"), Just("null"), Just("-0")].prop_map(|word| Tree::Scalar(word.into())),
        "[ -~é\u{1F600}\u{0}\n]{0,6}".prop_map(Tree::Text),
    ];
    scalar.prop_recursive(5, 60, 20, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Tree::List),
            proptest::collection::vec((keys, inner), 0..20).prop_map(move |mut members| {
                if matches!(repeats, Repeats::Never) {
                    let mut seen = std::collections::HashSet::new();
                    members.retain(|(key, _)| seen.insert(key.clone()));
                }
                Tree::Map(members)
            }),
        ]
    })
}

#[derive(Clone, Copy)]
enum Repeats {
    Never,
    Sometimes,
}

/// Writes the tree; `dice` chooses escapes and spaces.
fn write(tree: &Tree, dice: &mut impl Iterator<Item = u8>, out: &mut String) {
    space(dice, out);
    match tree {
        Tree::Scalar(text) => out.push_str(text),
        Tree::Text(text) => write_string(text, dice, out),
        Tree::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                write(item, dice, out);
            }
            space(dice, out);
            out.push(']');
        }
        Tree::Map(members) => {
            out.push('{');
            for (index, (key, value)) in members.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                space(dice, out);
                write_string(key, dice, out);
                space(dice, out);
                out.push(':');
                write(value, dice, out);
            }
            space(dice, out);
            out.push('}');
        }
    }
    space(dice, out);
}

fn space(dice: &mut impl Iterator<Item = u8>, out: &mut String) {
    out.push_str(["", "", "", " ", "\n", "\t\r\n "][usize::from(dice.next().unwrap() % 6)]);
}

fn write_string(text: &str, dice: &mut impl Iterator<Item = u8>, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        if dice.next().unwrap().is_multiple_of(4) || character < ' ' || matches!(character, '"' | '\\') {
            for unit in character.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(character);
        }
    }
    out.push('"');
}

fn text_of(tree: &Tree, dice: Vec<u8>) -> String {
    let mut out = String::new();
    write(tree, &mut dice.into_iter().cycle(), &mut out);
    out
}

fn paths_of(tree: &Tree, here: &[String], all: &mut Vec<Vec<String>>) {
    all.push(here.to_vec());
    let mut descend = |name: String, child: &Tree| paths_of(child, &[here, &[name]].concat(), all);
    match tree {
        Tree::Scalar(_) | Tree::Text(_) => {}
        Tree::List(items) => items.iter().enumerate().for_each(|(index, item)| descend(index.to_string(), item)),
        Tree::Map(members) => members.iter().for_each(|(key, value)| descend(key.clone(), value)),
    }
}

fn dice() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 1..40)
}

/// A text without duplicate keys and the paths of all its values.
pub fn text_and_paths() -> impl Strategy<Value = (String, Vec<Vec<String>>)> {
    (tree("[a-d/~\"\\\\é\u{1F600}]{0,3}", Repeats::Never), dice()).prop_map(|(tree, dice)| {
        let mut paths = Vec::new();
        paths_of(&tree, &[], &mut paths);
        (text_of(&tree, dice), paths)
    })
}

/// A text whose objects often name a key twice.
pub fn text_with_repeats() -> impl Strategy<Value = String> {
    (tree("[a-c]{1,3}", Repeats::Sometimes), dice()).prop_map(|(tree, dice)| text_of(&tree, dice))
}
