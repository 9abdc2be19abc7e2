//! README says what the program says.

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
const BEGIN: &str = "<!-- catalogue: written by tests/documentation.rs -->\n";
const END: &str = "<!-- /catalogue -->";

#[test]
fn readmes_table_is_the_catalogue() {
    let readme = std::fs::read_to_string(README).expect("README.md");
    let (head, rest) = readme.split_once(BEGIN).expect("the table's beginning");
    let (table, tail) = rest.split_once(END).expect("the table's end");
    let catalogue = hostgauge::cli::catalogue_markdown();
    if std::env::var_os("UPDATE_README").is_some() {
        std::fs::write(README, format!("{head}{BEGIN}{catalogue}{END}{tail}")).expect("written");
    } else {
        assert_eq!(table, catalogue, "run UPDATE_README=1 cargo test -p hostgauge --test documentation");
    }
}
