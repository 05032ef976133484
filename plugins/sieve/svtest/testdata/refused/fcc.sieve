require ["fcc", "vacation", "mailbox"];
keep :fcc "x";
vacation :fcc "" "x";
vacation :create "x";
