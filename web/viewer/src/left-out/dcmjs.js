// In place of dcmjs (a DICOM parser, 1 MB), which cornerstone's metadata package imports but which nothing here calls: frames come decoded.
const quiet = () => {};
const logger = () => ({ trace: quiet, debug: quiet, info: quiet, warn: quiet, error: quiet, setLevel: quiet, getLevel: () => 5, getLogger: logger });
export const log = logger();
export const data = { DicomMetaDictionary: { dictionary: {}, nameMap: {} } };
export const constants = {};
export const utilities = { DicomMetadataListener: class {} };
const async = { AsyncDicomReader: class {} };
export default { async, constants, data, log, utilities };
