//! The kernel's CPU list format: `0-3,8,10-11`.
//!
//! Source: Documentation/admin-guide/cputopology.rst.

/// No machine has more CPUs than this; a longer list is not one. (The kernel's own bound, NR_CPUS, ends at 8192.)
const MAX: u32 = 1 << 16;

/// The numbers of a list in ascending order, or `None` if the text is no list.
pub(super) fn parse(text: &str) -> Option<Vec<u32>> {
    let mut cores = Vec::new();
    for part in text.trim().split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last >= MAX || cores.last().is_some_and(|before| *before >= first) {
            return None;
        }
        cores.extend(first..=last);
    }
    Some(cores)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lists_of_the_kernel() {
        assert_eq!(parse("0-3\n"), Some(vec![0, 1, 2, 3]));
        assert_eq!(parse("0,2-3,7"), Some(vec![0, 2, 3, 7]));
        assert_eq!(parse("\n"), Some(vec![]));
        for bad in ["3-1", "a", "0-", "1,1", "0-99999999", "-1"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(cores in proptest::collection::btree_set(0..MAX, 0..40)) {
            let text = cores.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
            prop_assert_eq!(parse(&text), Some(cores.into_iter().collect::<Vec<_>>()));
        }

        #[test]
        fn no_text_panics(text in ".{0,80}") {
            let _ = parse(&text);
        }
    }
}
