require ["mailbox", "fileinto"];
if mailboxexists {}
keep :create;
