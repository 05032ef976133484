require ["mboxmetadata"];
if metadata "a" "b" {}
if metadataexists "a" {}
