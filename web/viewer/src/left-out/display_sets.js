// In place of the rules by which cornerstone splits DICOM studies into series: the server has already chosen one.
export const compiledDisplaySetRules = [];
export const defaultDisplaySetSplitRules = [];
