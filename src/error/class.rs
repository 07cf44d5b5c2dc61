//! The classes of errors: each has a code that both languages share, and its cause and remedy in `docs/errors.md`.
//!
//! A code is `WDT-` and four digits, of which the first is the exit code. Codes are public API: a class that is gone
//! leaves its number unused.

use super::ErrorKind;

macro_rules! classes {
    ($($(#[doc = $title:literal])+ $class:ident = $number:literal, $kind:ident;)*) => {
        /// What went wrong, more closely than its kind says: what `docs/errors.md` lists.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorClass {
            $($(#[doc = $title])+ $class,)*
        }

        impl ErrorClass {
            /// Its code, such as `WDT-2101`.
            pub fn code(self) -> &'static str {
                match self {
                    $(Self::$class => concat!("WDT-", $number),)*
                }
            }

            /// Its kind, which decides the exit code.
            pub fn kind(self) -> ErrorKind {
                match self {
                    $(Self::$class => ErrorKind::$kind,)*
                }
            }

            /// All of them with their names and titles, by their codes.
            #[cfg(test)]
            pub(crate) const ALL: &[(Self, &str, &str)] =
                &[$((Self::$class, stringify!($class), concat!($($title),+)),)*];
        }
    };
}

classes! {
    /// a defect of wdt-lake
    Internal = 1000, Internal;
    /// the output cannot be written
    OutputLost = 1101, Output;
    /// no room for temporary files of the output
    OutputTemporary = 1102, Output;

    /// other wrong usage
    Usage = 2000, Usage;
    /// a setting is missing
    SettingMissing = 2101, Usage;
    /// a setting has a wrong value
    SettingWrong = 2102, Usage;
    /// settings exclude each other
    SettingsConflict = 2103, Usage;
    /// the configuration file cannot be read
    ConfigUnreadable = 2104, Usage;
    /// the configuration file is not right
    ConfigWrong = 2105, Usage;
    /// the app secret cannot be used
    SecretUnusable = 2106, Usage;
    /// an account is set twice
    AccountTwice = 2107, Usage;
    /// no such account, or several to choose from
    AccountUnknown = 2108, Usage;
    /// a value on the command line is wrong
    ArgumentWrong = 2201, Usage;
    /// arguments exclude each other
    ArgumentsConflict = 2202, Usage;
    /// the range of time is wrong
    RangeWrong = 2203, Usage;
    /// a new lake needs a start
    StartMissing = 2204, Usage;
    /// a file of input cannot be read
    InputUnreadable = 2205, Usage;
    /// the output cannot go there
    OutputPlaceWrong = 2206, Usage;
    /// the token does not fit
    TokenWrong = 2207, Usage;
    /// a setting of the sandbox is wrong
    SandboxWrong = 2208, Usage;
    /// no lake was given
    LakeNotGiven = 2301, Usage;
    /// the location of the lake is wrong
    LocationWrong = 2302, Usage;
    /// the settings of S3 are wrong
    S3SettingsWrong = 2303, Usage;
    /// the lake has nothing of the account
    AccountNotInLake = 2304, Usage;
    /// the lake holds another account under this name
    AccountOfOthers = 2305, Usage;
    /// the lake does not know the present
    LakeStale = 2309, Usage;
    /// the lake is not for this
    LakeUnfit = 2306, Usage;
    /// a published table belongs to another program
    PublishedOfOthers = 2307, Usage;
    /// an engine cannot read the lake where it is
    EngineUnfit = 2308, Usage;
    /// no secure connection to the gateway
    TlsFailed = 2401, Usage;
    /// the proxy is not right
    ProxyWrong = 2402, Usage;
    /// stops are not allowed here
    StopForbidden = 2501, Usage;
    /// more stops than are allowed at once
    StopsTooMany = 2502, Usage;
    /// the edition cannot stop requisitions
    StopUnsupported = 2503, Usage;

    /// other refusals of the credentials
    Credentials = 4000, Credentials;
    /// the gateway refused the credentials
    CredentialsRefused = 4101, Credentials;
    /// an HTTP status refuses the way to the gateway
    HttpRefused = 4102, Credentials;
    /// the gateway refused the timestamp
    TimestampRefused = 4103, Credentials;
    /// the gateway does not let this machine's address in
    AddressRefused = 4104, Credentials;
    /// the account lacks the permission
    PermissionRefused = 4105, Credentials;

    /// other failures of the gateway
    Gateway = 5000, GatewayUnavailable;
    /// the gateway did not answer
    GatewaySilent = 5101, GatewayUnavailable;
    /// the gateway answered an HTTP error
    GatewayHttp = 5102, GatewayUnavailable;
    /// the gateway is busy
    GatewayBusy = 5103, GatewayUnavailable;
    /// a response cannot be read
    AnswerUnreadable = 5104, GatewayUnavailable;
    /// no response can be read
    NothingReadable = 5105, GatewayUnavailable;
    /// a response broke off
    AnswerBroken = 5106, GatewayUnavailable;

    /// other failures of the lake
    Lake = 6000, Lake;
    /// another run is at work
    LeaseHeld = 6101, Conflict;
    /// another run wrote at the same time
    WroteAtOnce = 6102, Conflict;
    /// the commit log has a fork
    Forked = 6103, Conflict;
    /// the outcome of a commit is unknown
    OutcomeUnknown = 6104, Lake;
    /// the log is for a single writer
    SingleWriterLog = 6105, Lake;
    /// there is no lake
    LakeMissing = 6201, Lake;
    /// the folder of the lake cannot be used
    FolderUnusable = 6202, Lake;
    /// an object of the lake cannot be read or written
    ObjectFailed = 6203, Lake;
    /// the store cannot be reached
    StoreUnreached = 6204, Lake;
    /// the store keeps no conditional create
    NoConditionalCreate = 6205, Lake;
    /// the store loses or bends what it is given
    StoreUnsound = 6206, Lake;
    /// the listing of the store cannot be believed
    ListingWrong = 6207, Lake;
    /// no room for temporary files
    TemporaryFailed = 6208, Lake;
    /// the store refused the keys
    StoreRefused = 6209, Lake;
    /// there is no such bucket
    BucketMissing = 6210, Lake;
    /// the store is full
    StoreFull = 6211, Lake;
    /// another format of the lake
    FormatOther = 6301, Lake;
    /// a later data contract
    ContractLater = 6302, Lake;

    /// other reasons for a gap
    Incomplete = 7000, Incomplete;
    /// a window was not proved complete
    NotProved = 7101, Incomplete;
    /// the gateway contradicts itself
    Contradicted = 7102, Incomplete;
    /// rows came into a window while it was walked
    LagTooShort = 7103, Incomplete;
    /// the gateway gives rows of another time
    RowsAstray = 7104, Incomplete;
    /// too many invalid records
    TooManyInvalid = 7105, Incomplete;
    /// the clock of the gateway cut the range short
    ClockCut = 7106, Incomplete;
    /// the run ended before this window
    NotWalked = 7107, Incomplete;
    /// interrupted
    Interrupted = 7108, Incomplete;
    /// the gateway refused the call
    CallRefused = 7201, GatewayRefused;
    /// the raw responses do not prove the window
    RawMissing = 7301, Incomplete;

    /// other defects
    Defect = 8000, Defect;
    /// a manifest is damaged
    ManifestDamaged = 8101, Defect;
    /// a manifest is missing
    ManifestMissing = 8102, Defect;
    /// a committed object is missing or was changed
    ObjectDamaged = 8103, Defect;
    /// a committed file holds what it should not
    FileDamaged = 8104, Defect;
    /// kept responses or records cannot be read back
    KeptDamaged = 8105, Defect;
    /// a published table is damaged
    PublishedDamaged = 8201, Defect;
}

impl ErrorClass {
    /// Whether it only says that none of the others fits.
    pub(super) fn is_other(self) -> bool {
        self.code().ends_with("000")
    }
}

/// The class of an error of which only the kind is known.
impl From<ErrorKind> for ErrorClass {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Internal => Self::Internal,
            ErrorKind::Usage => Self::Usage,
            ErrorKind::Credentials => Self::Credentials,
            ErrorKind::GatewayUnavailable => Self::Gateway,
            ErrorKind::GatewayRefused => Self::CallRefused,
            ErrorKind::Lake => Self::Lake,
            ErrorKind::Conflict => Self::WroteAtOnce,
            ErrorKind::Incomplete => Self::Incomplete,
            ErrorKind::Defect => Self::Defect,
            ErrorKind::Output => Self::OutputLost,
        }
    }
}
