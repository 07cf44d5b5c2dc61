//! A small ERP and the commands by which crash tests bring a lake up to date with it: many windows, each of a few small
//! pages.

use std::process::Command;

use wdt_lake::Window;
use wdt_lake::sandbox::{Sandbox, SharedWorld, Version};

use super::committed::assert_whole;
use super::{LakeDir, at, erp, program_at, run};

/// The first and the last day of the ERP.
const DAYS: (&str, &str) = ("2026-02-01", "2026-05-31");

/// What a run is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Job {
    /// Walk what is missing.
    Fill,
    /// Walk everything again, too: commits that remove and add.
    Refresh,
}

/// The ERP, and what is done with it.
pub(crate) struct Campaign {
    pub(crate) erp: Sandbox,
}

impl Campaign {
    pub(crate) fn new() -> Self {
        Self { erp: erp(160, 120, &format!("{} 23:59:59", DAYS.1)) }
    }

    pub(crate) fn range() -> Window {
        Window::new(at(&format!("{} 00:00:00", DAYS.0)), at(&format!("{} 23:59:59", DAYS.1))).expect("a window")
    }

    /// `sync`, in a folder of its own, where a core file may fall.
    pub(crate) fn sync(&self, lake: &LakeDir, job: Job) -> Command {
        self.sync_by_pages_of(20, lake, job)
    }

    /// The same with another page size, by which its calls can be told from others.
    pub(crate) fn sync_by_pages_of(&self, rows: u32, lake: &LakeDir, job: Job) -> Command {
        let mut command = self.sync_into(&lake.text(), rows, job);
        command.current_dir(lake.path().parent().expect("a folder"));
        command
    }

    /// The same for a lake that lies anywhere.
    pub(crate) fn sync_into(&self, lake: &str, page_size: u32, job: Job) -> Command {
        let mut command = program_at(&self.erp);
        command.args(["sync", "--json", "--calls-per-minute", "0", "--lake", lake]);
        command.args(["--page-size", &page_size.to_string()]);
        command.args(["--from", DAYS.0, "--to", DAYS.1]);
        if job == Job::Refresh {
            command.args(["--lookback", "400d"]);
        }
        command
    }

    /// A lake that is up to date.
    pub(crate) fn lake(&self) -> LakeDir {
        let lake = LakeDir::new();
        run(&mut self.sync(&lake, Job::Fill)).expect_code(0);
        lake
    }

    /// Edits into the past, which only a refresh finds, and edits that leave the range, so that only the lake still has
    /// what was.
    pub(crate) fn rewrite_history(&self) {
        let mut world = self.erp.world().lock();
        let all: Vec<_> = world.requisitions().cloned().collect();
        for (n, requisition) in all.iter().enumerate().filter(|(n, _)| n % 3 != 0) {
            let modified = if n % 3 == 1 {
                requisition.modified.plus_seconds(7)
            } else {
                Self::range().end().plus_seconds(86_400)
            };
            world.edit_at(&requisition.purchase_apply_no, modified, |edited| edited.remark = "改".into());
        }
    }

    /// Closes the ERP's door and opens the same ERP behind another. Gives the old one's world.
    pub(crate) fn close(&mut self) -> SharedWorld {
        let world = self.erp.world().clone();
        std::mem::replace(self, Self::new()).erp.shutdown();
        world
    }

    /// The lake is as it has to be when it was begun after all edits: every current version of the range once, and
    /// nothing beside them.
    pub(crate) fn assert_current(&self, lake: &LakeDir, about: &str) {
        let versions = self.versions();
        let current = versions.iter().filter(|version| version.died.is_none());
        assert_whole(lake, Self::range(), current, about);
    }

    /// The lake is as it has to be when it was filled before all edits and refreshed after them: every version that the
    /// ERP ever held in the range once, and nothing beside them.
    pub(crate) fn assert_whole(&self, lake: &LakeDir, about: &str) {
        assert_whole(lake, Self::range(), &self.versions(), about);
    }

    /// Every version that the ERP ever held.
    pub(crate) fn versions(&self) -> Vec<Version> {
        self.erp.world().lock().journal().versions().to_vec()
    }
}
