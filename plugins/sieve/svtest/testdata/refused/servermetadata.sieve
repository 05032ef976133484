require ["servermetadata"];
if servermetadata "a" {}
if servermetadataexists {}
