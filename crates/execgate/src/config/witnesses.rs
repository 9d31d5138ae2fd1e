//! The witnesses of the log: where each is, and by which key it is known.

use anyhow::{Context as _, bail};
use execgate_iam::ServiceUrl;
use execgate_receipt::{NoteAlgorithm, VerifierKey};

use super::file::WitnessSection;

/// How many there may be: each is shown every checkpoint.
const WITNESSES_MAX: usize = 16;

/// One witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WitnessPlace {
    pub(crate) url: ServiceUrl,
    pub(crate) key: VerifierKey,
}

/// The witnesses, each of which can be asked.
pub(super) fn witnesses(sections: &[WitnessSection]) -> anyhow::Result<Vec<WitnessPlace>> {
    if sections.len() > WITNESSES_MAX {
        bail!("there may be {WITNESSES_MAX} witnesses, and `[[witness]]` names {}", sections.len());
    }
    let places: Vec<WitnessPlace> = sections.iter().map(place).collect::<Result<_, _>>()?;
    for (at, place) in places.iter().enumerate() {
        if places[..at].iter().any(|earlier| earlier.key.name() == place.key.name()) {
            bail!("two witnesses of `[[witness]]` have the name `{}`", place.key.name());
        }
    }
    Ok(places)
}

fn place(section: &WitnessSection) -> anyhow::Result<WitnessPlace> {
    let url = ServiceUrl::new(&section.url).context("`url` of a `[[witness]]` is wrong")?;
    let key: VerifierKey = section.vkey.parse().context("`vkey` of a `[[witness]]` is wrong")?;
    if key.algorithm() != NoteAlgorithm::CosignatureV1 {
        bail!("`vkey` of a `[[witness]]` is not the key of a witness: `execgate witness` prints its own");
    }
    Ok(WitnessPlace { url, key })
}

#[cfg(test)]
mod tests {
    use super::{WitnessSection, witnesses};

    const WITNESS: &str = "witness.example/w+21121a56+BEUIoHqpQXB/PrLblMiJeoCywRl0drbeITrCc999hsT/";
    const LOG: &str = "example.com/log+58490f8b+ARl/ayPhbIUyxqvIOPrNXqeJvgx2spIDNAOb+os9No1h";

    fn read(given: &[(&str, &str)]) -> Result<usize, String> {
        let section =
            |(url, vkey): &(&str, &str)| WitnessSection { url: (*url).to_owned(), vkey: (*vkey).to_owned() };
        let sections: Vec<_> = given.iter().map(section).collect();
        witnesses(&sections).map(|places| places.len()).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn a_witness_has_a_url_and_the_key_of_a_witness() {
        assert_eq!(read(&[("http://127.0.0.1:5092", WITNESS)]), Ok(1));
        assert!(read(&[("http://witness.example", WITNESS)]).unwrap_err().contains("https"));
        assert!(read(&[("https://witness.example", LOG)]).unwrap_err().contains("not the key of a witness"));
        assert!(read(&[("https://witness.example", "x")]).unwrap_err().contains("`vkey`"));
        let twice = [("https://a.example", WITNESS), ("https://b.example", WITNESS)];
        assert!(read(&twice).unwrap_err().contains("two witnesses"));
    }
}
