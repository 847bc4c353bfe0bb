//! User stories that were written for this example, in Spanish and English.
//!
//! They are illustrative: three made-up organisations send some requests twice, and some again after a small edit. The
//! number of repetitions is chosen, so the figures measure nothing.

use crate::workload::{Request, Source};

/// Note that is printed beside the results.
pub const NOTE: &str =
    "illustrative: stories and repetitions were made up for this example, so these figures measure nothing";

const FERRY: &str = "Naviera Brisa";
const LIBRARY: &str = "Elm Street Library";
const BAKERY: &str = "Panadería Alba";

const BOARDING: &str = "\
     Como pasajera quiero cambiar la hora de mi travesía hasta dos horas antes de zarpar, para no perder el billete \
     si llego tarde al puerto.";
const BOARDING_EDITED: &str = "\
     Como pasajera quiero cambiar la hora de mi travesía hasta tres horas antes de zarpar, para no perder el billete \
     si llego tarde al puerto.";
const VEHICLE: &str = "\
     Como conductor quiero declarar la longitud de mi vehículo al reservar, para que me asignen una plaza en la que \
     quepa.";
const STORM: &str = "\
     Como jefa de operaciones quiero cancelar todas las salidas de un puerto cuando hay temporal, y que cada \
     pasajero reciba el reembolso sin pedirlo.";
const LOAN: &str = "\
     As a reader I want to renew a loan online unless somebody else has reserved the book, so that I do not have to \
     come to the desk.";
const LOAN_EDITED: &str = "\
     As a reader I want to renew a loan online at most twice unless somebody else has reserved the book, so that I \
     do not have to come to the desk.";
const FINE: &str = "\
     As a librarian I want fines to stop growing once they reach the price of the book, so that nobody owes more \
     than it would cost to replace it.";
const CHILD: &str = "\
     As a parent I want to see what my child has borrowed without seeing what was returned, so that I can help to \
     bring books back on time.";
const OVEN: &str = "\
     Como panadera quiero que el sistema sume los pedidos de la noche por tipo de masa, para saber a qué hora \
     encender cada horno.";
const ALLERGY: &str =
    "Como cliente con alergia quiero ver los ingredientes de cada pan antes de pagar, aunque el pan sea de encargo.";
const ALLERGY_ENGLISH: &str = "\
     As a customer with an allergy I want to see the ingredients of every loaf before I pay, even when it is made to \
     order.";
const LEFTOVER: &str = "\
     As the shop's manager I want unsold bread to be offered at half price during the last hour, except what was \
     baked after noon.";

/// Requests in their order: organisation and story.
const REQUESTS: [(&str, &str); 22] = [
    (FERRY, BOARDING),
    (FERRY, VEHICLE),
    (LIBRARY, LOAN),
    (BAKERY, OVEN),
    (LIBRARY, FINE),
    (BAKERY, ALLERGY),
    (FERRY, STORM),
    (BAKERY, LEFTOVER),
    (LIBRARY, CHILD),
    // The ferry edits one story and requests all of its stories again.
    (FERRY, BOARDING_EDITED),
    (FERRY, VEHICLE),
    (FERRY, STORM),
    // The library does the same.
    (LIBRARY, LOAN_EDITED),
    (LIBRARY, FINE),
    (LIBRARY, CHILD),
    // The bakery translates a story.
    (BAKERY, OVEN),
    (BAKERY, ALLERGY_ENGLISH),
    (BAKERY, LEFTOVER),
    // The same story of another organisation is another request.
    (LIBRARY, LEFTOVER),
    // Edits are reverted.
    (FERRY, BOARDING),
    (LIBRARY, LOAN),
    (BAKERY, ALLERGY),
];

/// Returns the workload, with [`NOTE`].
#[must_use]
pub fn source() -> Source {
    Source::of("demo", REQUESTS.iter().map(|&(organisation, story)| Request::new(organisation, story)).collect())
        .note(NOTE)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn demo_of_three_organisations_repeats_some_requests() {
        let source = source();
        assert_eq!((source.calls(), source.notes()), (22, &[NOTE.to_owned()][..]));
        let requests: Vec<_> = source.map(|r| r.expect("in memory")).collect();
        let organisations: HashSet<_> = requests.iter().map(|r| r.organisation.clone()).collect();
        let distinct: HashSet<_> = requests.iter().map(|r| (r.organisation.clone(), r.text.clone())).collect();
        let stories: HashSet<_> = requests.iter().map(|r| r.text.clone()).collect();
        assert_eq!((organisations.len(), distinct.len(), stories.len()), (3, 13, 12));
    }
}
