//! Every step of building a stem or a jail, so that a fault names what failed. Never an explanation of a guest.

use std::fmt;
use std::io;

macro_rules! steps {
    ($($number:literal $name:ident $text:literal)*) => {
        /// One step of building a jail.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[expect(missing_docs, reason = "each variant's text, beside it, says what is done")]
        pub enum Step { $($name),* }

        impl Step {
            pub fn number(self) -> u8 {
                match self { $(Self::$name => $number),* }
            }

            pub fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$name),)* _ => None }
            }

            fn text(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }
    };
}

steps! {
    1 CloneStem "clone the stem into its namespaces"
    2 WriteIdMaps "write the stem's id maps"
    3 AwaitGo "wait for the stem's id maps"
    4 StemIdentity "become root inside the stem's user namespace"
    5 NoUserNamespaces "forbid further user namespaces"
    6 PrivateMounts "make every mount private"
    7 OpenImage "open the image as a detached mount"
    8 SealImage "make the image's mount read-only"
    9 OpenDevice "open a device node as a detached mount"
    10 AttachImage "attach the image"
    11 EnterImage "enter the image"
    12 MakeDev "make the guest's /dev"
    13 FillDev "fill the guest's /dev"
    14 SealDev "make the guest's /dev read-only"
    15 StemProc "mount the stem's /proc"
    16 PivotRoot "pivot into the image"
    17 DetachOldRoot "detach the old root"
    18 HostName "set the host name"
    19 StemSession "give the stem a session of its own"
    20 StemDeathSignal "tie the stem's life to the helper's"
    21 StemNotDumpable "make the stem untraceable"
    22 StemBoundingSet "shrink the stem's capability bounding set"
    23 StemCapabilities "shrink the stem's capabilities"
    24 StemDescriptors "arrange the stem's descriptors"
    25 StemChildren "leave reaping to the kernel"
    26 StemThreads "assert that the stem is single-threaded"
    27 StemReady "tell the helper that the stem is ready"
    29 StemForks "make the interpreter fit to be forked"
    28 MakeNetwork "make the slot's network namespace"
    36 StemTmp "give the stem a /tmp while it starts"
    37 StemTmpGone "take the stem's /tmp away"
    40 CloneInit "clone the init into its namespaces"
    39 InitSignals "reset the init's signals"
    41 JoinCgroup "join a cgroup"
    42 CgroupNamespace "enter a cgroup namespace"
    72 JoinNetwork "enter the slot's network namespace"
    75 RaiseLoopback "raise the run's loopback"
    76 OpenProxy "open the way to the run's proxy"
    43 ArrangeDescriptors "arrange the init's descriptors"
    44 AttachScratch "attach the scratch file system"
    45 BindTmp "bind /tmp"
    46 BindHome "bind /home/user"
    47 CloneShm "clone /dev/shm"
    48 DetachScratch "detach the scratch file system's staging mount"
    49 AttachShm "attach /dev/shm"
    50 GuestProc "mount the guest's /proc"
    51 DropBoundingSet "drop the capability bounding set"
    52 SetGroups "drop supplementary groups"
    53 SetGid "take the slot's group id"
    54 SetUid "take the slot's user id"
    55 ClearCapabilities "clear every capability"
    56 DeathSignal "tie the init's life to the stem's"
    57 NotDumpable "make the init untraceable"
    58 NoNewPrivileges "forbid new privileges"
    59 ResourceLimits "set resource limits"
    60 Landlock "restrict the file system by Landlock"
    74 AwaitRun "wait for a run"
    61 ReadArguments "read the arguments"
    73 PlaceFiles "put the run's files in their places"
    62 StatusPipe "make the exec status pipe"
    70 TellBegun "tell that the jail stands"
    71 KeepInit "keep the init alive until the jail stands"
    63 Fork "fork the interpreter"
    64 Session "give the interpreter a session of its own"
    65 Signals "reset signals"
    66 WorkingDirectory "enter the home folder"
    67 CloseOnExec "mark descriptors close-on-exec"
    68 Seccomp "install the system-call filter"
    69 Exec "execute the interpreter"
    80 Scratch "make the scratch file system"
    81 ArmCgroup "set the cgroup's limits"
    82 ReportPipe "make the report pipe"
    83 TellStem "tell the stem"
    85 StartProxy "start the run's proxy"
    84 Collect "collect the run's files"
    86 Copy "copy the session's interpreter"
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// A step that failed, and what the kernel said.
#[derive(Debug, thiserror::Error)]
#[error("failed to {step}")]
pub struct StepError {
    pub step: Step,
    #[source]
    pub error: io::Error,
}

impl StepError {
    pub fn errno(&self) -> i32 {
        self.error.raw_os_error().unwrap_or(libc::EIO)
    }
}

/// Names the step that an error came from.
pub trait At<T> {
    fn at(self, step: Step) -> Result<T, StepError>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, step: Step) -> Result<T, StepError> {
        self.map_err(|error| StepError { step, error: error.into() })
    }
}
