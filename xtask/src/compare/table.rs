//! The comparison as a page has it.

use crate::compare::attack::Ended;

/// What one tool made of a class: the names of what got through, and how many were tried.
pub(crate) struct Cell {
    /// How many attacks there were.
    pub(crate) tried: usize,
    /// What got through, and what it told.
    pub(crate) through: Vec<(String, String)>,
    /// What told nothing after its beginning, and how it ended: held, and worth a look, since a program that is wrong does so too.
    pub(crate) silent: Vec<(String, String)>,
    /// What never ran, and why.
    pub(crate) not_run: Vec<(String, String)>,
}

impl Cell {
    /// A cell of the ends of attacks, by their names.
    pub(crate) fn of(ends: impl IntoIterator<Item = (String, Ended)>) -> Self {
        let mut cell = Self { tried: 0, through: Vec::new(), silent: Vec::new(), not_run: Vec::new() };
        for (name, ended) in ends {
            cell.tried += 1;
            match ended {
                Ended::Held(_) => {}
                Ended::Silent(how) => cell.silent.push((name, how)),
                Ended::Through(answer) => cell.through.push((name, answer)),
                Ended::NotRun(why) => cell.not_run.push((name, why)),
            }
        }
        cell
    }

    fn shown(&self) -> String {
        match (self.through.len(), self.not_run.len()) {
            (0, 0) => format!("held all {}", self.tried),
            (count, 0) => format!("held {}, {count} got through", self.tried - count),
            (count, other) => {
                format!("held {}, {count} got through, {other} did not run", self.tried - count - other)
            }
        }
    }
}

/// One row a class, one column a tool.
pub(crate) fn table(tools: &[&str], rows: &[(&str, Vec<Cell>)]) -> String {
    let line = |cells: Vec<String>| format!("| {} |", cells.join(" | "));
    let head = [&["class"], tools].concat().into_iter().map(str::to_owned).collect();
    let mut lines = vec![line(head), line(vec!["---".to_owned(); tools.len() + 1])];
    for (class, cells) in rows {
        lines.push(line([(*class).to_owned()].into_iter().chain(cells.iter().map(Cell::shown)).collect()));
    }
    lines.push(String::new());
    for (at, tool) in tools.iter().enumerate() {
        for (class, cells) in rows {
            let Some(cell) = cells.get(at) else { continue };
            for (what, named) in
                [("", &cell.through), (", held without a word", &cell.silent), (", not run", &cell.not_run)]
            {
                let names: Vec<String> =
                    named.iter().map(|(name, answer)| format!("{name} ({answer})")).collect();
                if !names.is_empty() {
                    lines.push(format!("- {tool}, {class}{what}: {}", names.join("; ")));
                }
            }
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_got_through_is_counted_and_named() {
        let held = || Ended::Held("EPERM".to_owned());
        let one = Cell::of([("a".to_owned(), held()), ("b".to_owned(), Ended::Through("5".to_owned()))]);
        let silent = Ended::Silent("signal: 9".to_owned());
        let none = Cell::of([("a".to_owned(), held()), ("b".to_owned(), silent)]);
        assert_eq!(
            table(&["ours", "theirs"], &[("reach", vec![none, one])]),
            "| class | ours | theirs |\n| --- | --- | --- |\n| reach | held all 2 | held 1, 1 got through |\n\n\
             - ours, reach, held without a word: b (signal: 9)\n\
             - theirs, reach: b (5)"
        );
    }
}
