//! Rows for a person, in columns as wide as their widest cell.

/// One line for each row; the last column is as long as it is.
pub(crate) fn lines<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_nothing_trails() {
        let rows = [["é", "b", "c"], ["aa", "", "cc"], ["a", "b", ""]].map(|row| row.map(str::to_owned));
        assert_eq!(lines(&rows), ["é   b  c", "aa     cc", "a   b"]);
    }
}
