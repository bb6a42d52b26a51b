//! What providers said to calls that stay open.

use super::*;

#[test]
fn words_of_an_open_call_stay_until_its_answer() {
    on_both(|journal| {
        let id = append(journal, vec![create(&[1])])[0];
        journal.advance(id, IntentState::Sent).unwrap();
        let said = "AttachVolume: UnauthorizedOperation: no (class auth)".to_owned();
        let say = JournalChange::Say {
            id,
            said: said.clone(),
        };
        journal.commit(vec![say]).unwrap();
        let open = journal.open_intents(&web()).unwrap();
        assert_eq!(
            (&open[0].state, &open[0].said),
            (&IntentState::Sent, &Some(said))
        );
        let bytes = crate::journal::encoding::encode(&open[0]).unwrap();
        assert_eq!(
            crate::journal::encoding::decode(id, &bytes),
            Ok(open[0].clone())
        );
        journal.advance(id, IntentState::Intended).unwrap();
        let open = journal.open_intents(&web()).unwrap();
        assert_eq!(open[0].said, None);
    });
}
