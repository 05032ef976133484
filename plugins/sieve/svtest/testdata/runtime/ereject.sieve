require ["ereject", "fileinto"];
ereject "no";
fileinto "x";
