require ["mailboxid", "fileinto"];
if mailboxidexists {}
keep :mailboxid "x";
